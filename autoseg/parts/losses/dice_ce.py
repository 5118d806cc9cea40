"""Soft Dice plus cross-entropy (Isensee et al. 2021): softmax for exclusive labels, sigmoid for regions."""

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
    """``dice_weight * (1 - mean soft Dice) + ce_weight * mean cross-entropy``."""

    batch_dice: bool = False
    """True: one Dice over all patches of a batch, as if they were one; False: one per patch."""
    smooth: float = 1e-5
    """Added to numerator and denominator of each Dice, as nnU-Net v2 2.8.1 does."""
    dice_weight: float = 1.0
    ce_weight: float = 1.0

    def __post_init__(self) -> None:
        refuse_impossible(self)

    def build(self, labels: Labels) -> Callable[[Tensor, Tensor], Tensor]:
        """``loss(logits (B, heads, *patch), target (B, *patch) of label indices) -> scalar``.

        Voxels that hold ``labels.ignore_index`` count nowhere. Background has no Dice of its own.
        """
        from ._terms import WeightedSum, cross_entropy, soft_dice

        dice = soft_dice(batch=self.batch_dice, smooth=self.smooth)
        return WeightedSum(labels, (self.dice_weight, dice), (self.ce_weight, cross_entropy()))
