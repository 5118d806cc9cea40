"""Tversky loss (Salehi et al. 2017): Dice that counts missed voxels more than superfluous ones, or less."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...core.labels import Labels
from ._checks import refuse_impossible

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Spec:
    """``tversky_weight * (1 - mean Tversky index) + ce_weight * mean cross-entropy``; alpha = beta = 0.5 is Dice."""

    alpha: float = 0.3
    """Weight of false positives. The authors' choice, for lesions that are small and easily missed."""
    beta: float = 0.7
    """Weight of false negatives."""
    tversky_weight: float = 1.0
    ce_weight: float = 0.0
    batch_dice: bool = False
    """True: one Dice over all patches of a batch, as if they were one; False: one per patch."""
    smooth: float = 1e-5

    def __post_init__(self) -> None:
        refuse_impossible(self)

    def build(self, labels: Labels) -> Callable[[Tensor, Tensor], Tensor]:
        """``loss(logits (B, heads, *patch), target (B, *patch) of label indices) -> scalar``."""
        from ._terms import WeightedSum, cross_entropy, tversky

        index = tversky(alpha=self.alpha, beta=self.beta, batch=self.batch_dice, smooth=self.smooth)
        return WeightedSum(labels, (self.tversky_weight, index), (self.ce_weight, cross_entropy()))
