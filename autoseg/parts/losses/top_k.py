"""Cross-entropy of the hardest voxels (Wu et al. 2016, online bootstrapping); with Dice if wished."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...core.bounds import bounded
from ...core.labels import Labels
from ._checks import refuse_impossible

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Spec:
    """``ce_weight * mean cross-entropy of the worst share + dice_weight * (1 - mean soft Dice)``."""

    share: float = 0.1
    """Of the voxels of a batch; 0.1 and ``dice_weight`` 0 or 1 are nnU-Net's TopK10 and DiceTopK10."""
    ce_weight: float = 1.0
    dice_weight: float = 0.0
    batch_dice: bool = False
    """True: one Dice over all patches of a batch, as if they were one; False: one per patch."""
    smooth: float = 1e-5

    def __post_init__(self) -> None:
        refuse_impossible(self)
        bounded(self, "share", above=0, most=1)

    def build(self, labels: Labels) -> Callable[[Tensor, Tensor], Tensor]:
        """``loss(logits (B, heads, *patch), target (B, *patch) of label indices) -> scalar``."""
        from ._terms import WeightedSum, soft_dice, top_k

        dice = soft_dice(batch=self.batch_dice, smooth=self.smooth)
        return WeightedSum(labels, (self.ce_weight, top_k(share=self.share)), (self.dice_weight, dice))
