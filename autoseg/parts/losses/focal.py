"""Focal loss (Lin et al. 2017): cross-entropy that leaves well-classified voxels alone; with Dice if wished."""

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
    """``focal_weight * mean((1 - p) ** gamma * -ln p) + dice_weight * (1 - mean soft Dice)``, p that of the truth."""

    gamma: float = 2.0
    """As the authors found best; 0 is plain cross-entropy."""
    focal_weight: float = 1.0
    dice_weight: float = 0.0
    batch_dice: bool = False
    """True: one Dice over all patches of a batch, as if they were one; False: one per patch."""
    smooth: float = 1e-5

    def __post_init__(self) -> None:
        refuse_impossible(self)

    def build(self, labels: Labels) -> Callable[[Tensor, Tensor], Tensor]:
        """``loss(logits (B, heads, *patch), target (B, *patch) of label indices) -> scalar``."""
        from ._terms import WeightedSum, focal, soft_dice

        dice = soft_dice(batch=self.batch_dice, smooth=self.smooth)
        return WeightedSum(labels, (self.focal_weight, focal(gamma=self.gamma)), (self.dice_weight, dice))
