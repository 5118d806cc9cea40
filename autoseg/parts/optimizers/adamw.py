"""Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...core.bounds import bounded

if TYPE_CHECKING:
    from torch import nn, optim


@dataclass(frozen=True)
class Spec:
    """Defaults: the authors' betas and decay, and the learning rate that suits instance-normalised U-Nets."""

    learning_rate: float = 1e-3
    beta_gradient: float = 0.9
    beta_square: float = 0.999
    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        bounded(self, "learning_rate", above=0, most=1000)
        bounded(self, "beta_gradient", "beta_square", least=0, below=1)
        bounded(self, "weight_decay", least=0, most=1000)

    def build(self, parameters: Iterable[nn.Parameter]) -> optim.Optimizer:
        """The optimizer over ``parameters``, at its full learning rate."""
        from torch import optim

        betas = (self.beta_gradient, self.beta_square)
        return optim.AdamW(parameters, self.learning_rate, betas, weight_decay=self.weight_decay)
