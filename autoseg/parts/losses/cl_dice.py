"""Centreline Dice (Shit et al. 2021) beside Dice and cross-entropy: vessels and other tubes stay connected.

Skeletons are soft: erosions and openings through which a gradient flows, on the training device.
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
    """``cl_dice_weight * (1 - mean soft clDice) + dice_weight * (1 - mean soft Dice) + ce_weight * ...``.

    clDice is the harmonic mean of the share of the predicted skeleton that lies in the truth and of the share of the
    truth's skeleton that is predicted.
    """

    cl_dice_weight: float = 1.0
    dice_weight: float = 1.0
    ce_weight: float = 1.0
    iterations: int = 3
    """Of thinning: at least the largest radius of a vessel in voxels."""
    cl_smooth: float = 1.0
    """Added to numerator and denominator of both shares, as by the authors."""
    batch_dice: bool = False
    """True: one Dice over all patches of a batch, as if they were one; False: one per patch."""
    smooth: float = 1e-5

    def __post_init__(self) -> None:
        refuse_impossible(self)
        bounded(self, "iterations", least=1, most=100)

    def build(self, labels: Labels) -> Callable[[Tensor, Tensor], Tensor]:
        """``loss(logits (B, heads, *patch), target (B, *patch) of label indices) -> scalar``."""
        from ._shape import cl_dice
        from ._terms import WeightedSum, cross_entropy, soft_dice

        dice = soft_dice(batch=self.batch_dice, smooth=self.smooth)
        centre = cl_dice(iterations=self.iterations, batch=self.batch_dice, smooth=self.cl_smooth)
        terms = ((self.cl_dice_weight, centre), (self.dice_weight, dice), (self.ce_weight, cross_entropy()))
        return WeightedSum(labels, *terms)
