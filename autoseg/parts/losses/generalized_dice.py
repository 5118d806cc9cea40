"""Generalized Dice (Sudre et al. 2017): one Dice of all labels, each weighed by one over its squared volume."""

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
    """``dice_weight * (1 - generalized Dice) + ce_weight * mean cross-entropy``. Background is one of the labels."""

    batch_dice: bool = False
    """True: one Dice over all patches of a batch, as if they were one; False: one per patch."""
    smooth: float = 1e-5
    dice_weight: float = 1.0
    ce_weight: float = 0.0

    def __post_init__(self) -> None:
        refuse_impossible(self)

    def build(self, labels: Labels) -> Callable[[Tensor, Tensor], Tensor]:
        """``loss(logits (B, heads, *patch), target (B, *patch) of label indices) -> scalar``."""
        from ._terms import WeightedSum, cross_entropy, generalized_dice

        dice = generalized_dice(batch=self.batch_dice, smooth=self.smooth)
        return WeightedSum(labels, (self.dice_weight, dice), (self.ce_weight, cross_entropy()))
