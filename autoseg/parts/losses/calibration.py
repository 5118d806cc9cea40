"""Average calibration error (Barfoot et al. 2024, arXiv 2403.06759) beside Dice and cross-entropy.

Probabilities are to be as large as they are right. Its cost grows with the number of bins.
"""

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
    """``calibration_weight * mean |mean p - share of truth| over bins of p + dice_weight * ... + ce_weight * ...``.

    The mean is over patches, labels without background, and those of the bins in which there are voxels.
    """

    calibration_weight: float = 1.0
    bins: int = 20
    """Of equal width, as the authors."""
    dice_weight: float = 1.0
    ce_weight: float = 1.0
    batch_dice: bool = False
    """True: one Dice over all patches of a batch, as if they were one; False: one per patch."""
    smooth: float = 1e-5

    def __post_init__(self) -> None:
        refuse_impossible(self)
        bounded(self, "bins", least=1, most=100)

    def build(self, labels: Labels) -> Callable[[Tensor, Tensor], Tensor]:
        """``loss(logits (B, heads, *patch), target (B, *patch) of label indices) -> scalar``."""
        from ._terms import WeightedSum, calibration_error, cross_entropy, soft_dice

        dice, error = soft_dice(batch=self.batch_dice, smooth=self.smooth), calibration_error(bins=self.bins)
        terms = ((self.calibration_weight, error), (self.dice_weight, dice), (self.ce_weight, cross_entropy()))
        return WeightedSum(labels, *terms)
