"""Stochastic gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn, optim


@dataclass(frozen=True)
class Spec:
    """Defaults: nnU-Net v2 2.8.1."""

    learning_rate: float = 0.01
    momentum: float = 0.99
    nesterov: bool = True
    weight_decay: float = 3e-5

    def build(self, parameters: Iterable[nn.Parameter]) -> optim.Optimizer:
        """The optimizer over ``parameters``, at its full learning rate."""
        from torch import optim

        return optim.SGD(parameters, self.learning_rate, self.momentum, 0.0, self.weight_decay, self.nesterov)
