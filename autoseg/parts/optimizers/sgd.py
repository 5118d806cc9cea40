"""Stochastic gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...core.bounds import bounded

if TYPE_CHECKING:
    from torch import nn, optim


@dataclass(frozen=True)
class Spec:
    """Defaults: nnU-Net v2 2.8.1."""

    learning_rate: float = 0.01
    momentum: float = 0.99
    nesterov: bool = True
    weight_decay: float = 3e-5

    def __post_init__(self) -> None:
        bounded(self, "learning_rate", above=0, most=1000)
        bounded(self, "momentum", least=0, below=1)
        bounded(self, "weight_decay", least=0, most=1000)
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")

    def build(self, parameters: Iterable[nn.Parameter]) -> optim.Optimizer:
        """The optimizer over ``parameters``, at its full learning rate."""
        from torch import optim

        return optim.SGD(parameters, self.learning_rate, self.momentum, 0.0, self.weight_decay, self.nesterov)
