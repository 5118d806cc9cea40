"""Skeleton recall (Kirchhoff et al. 2024) beside Dice and cross-entropy: thin structures are not interrupted.

The processor makes the skeleton of the truth in every step, without gradient: nothing more is kept of it than a mask.
The authors take one skeleton of all labels together; here each label has its own, so that labels may touch or overlap.
"""

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
    """``recall_weight * (1 - mean recall) + dice_weight * (1 - mean soft Dice) + ce_weight * mean cross-entropy``.

    Recall is the share of the truth's skeleton, made thicker by two voxels within the truth, that is found.
    """

    recall_weight: float = 1.0
    dice_weight: float = 1.0
    ce_weight: float = 1.0
    batch_dice: bool = False
    """True: one Dice over all patches of a batch, as if they were one; False: one per patch."""
    smooth: float = 1e-5

    def __post_init__(self) -> None:
        refuse_impossible(self)

    def build(self, labels: Labels) -> Callable[[Tensor, Tensor], Tensor]:
        """``loss(logits (B, heads, *patch), target (B, *patch) of label indices) -> scalar``."""
        from ._shape import skeleton_recall
        from ._terms import WeightedSum, cross_entropy, soft_dice

        dice = soft_dice(batch=self.batch_dice, smooth=self.smooth)
        recall = skeleton_recall(batch=self.batch_dice, smooth=self.smooth)
        terms = ((self.recall_weight, recall), (self.dice_weight, dice), (self.ce_weight, cross_entropy()))
        return WeightedSum(labels, *terms)
