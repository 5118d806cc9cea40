"""Boundary loss (Kervadec et al. 2019) beside Dice and cross-entropy: errors cost more the farther from the border.

Distances count voxels, whatever their spacing. The processor computes them anew for every patch, label and scale, also
when the network trains on a GPU: about a quarter of a second per million voxels and label on one core.
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
    """``boundary_weight * mean(distance * (p - truth)) + dice_weight * ... + ce_weight * ...``.

    The authors' loss without the constant that makes it negative. Alone it is content with nothing predicted where a
    patch is all background, hence the other two terms.
    """

    boundary_weight: float = 0.01
    """The authors begin with 0.01 beside a regional loss."""
    dice_weight: float = 1.0
    ce_weight: float = 1.0
    batch_dice: bool = False
    """True: one Dice over all patches of a batch, as if they were one; False: one per patch."""
    smooth: float = 1e-5

    def __post_init__(self) -> None:
        refuse_impossible(self)

    def build(self, labels: Labels) -> Callable[[Tensor, Tensor], Tensor]:
        """``loss(logits (B, heads, *patch), target (B, *patch) of label indices) -> scalar``."""
        from ._boundary import boundary
        from ._terms import WeightedSum, cross_entropy, soft_dice

        dice = soft_dice(batch=self.batch_dice, smooth=self.smooth)
        terms = ((self.boundary_weight, boundary()), (self.dice_weight, dice), (self.ce_weight, cross_entropy()))
        return WeightedSum(labels, *terms)
