"""Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon): of a kernel's momentum only the directions count.

Every kernel of a convolution is taken as a matrix, one row per feature map. Its momentum is replaced by the nearest
matrix with orthogonal rows, so that directions that gradients seldom show are learned as fast as those that dominate.
Steps are as large as AdamW's (Liu et al. 2025, arXiv 2502.16982), which updates biases, normalisation and 1x1 kernels.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...core.bounds import bounded

if TYPE_CHECKING:
    from torch import nn, optim


@dataclass(frozen=True)
class Spec:
    """Defaults: the authors' momentum, AdamW's betas, and a learning rate that suits instance-normalised U-Nets."""

    learning_rate: float = 5e-3
    momentum: float = 0.95
    beta_gradient: float = 0.9
    beta_square: float = 0.999
    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        bounded(self, "learning_rate", above=0, most=1000)
        bounded(self, "momentum", "beta_gradient", "beta_square", least=0, below=1)
        bounded(self, "weight_decay", least=0, most=1000)

    def build(self, parameters: Iterable[nn.Parameter]) -> optim.Optimizer:
        """The optimizer over ``parameters``, at its full learning rate."""
        from ._muon import Muon

        betas = (self.beta_gradient, self.beta_square)
        return Muon(parameters, self.learning_rate, self.momentum, betas, self.weight_decay)
