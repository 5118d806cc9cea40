"""Boundary loss (Kervadec et al. 2019) beside Dice and cross-entropy: errors cost more the farther from the border.

Distances are in mm. The processor computes them anew for every patch, label and scale, also when the network trains on
a GPU: about a quarter of a second per million voxels and label on one core.
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
    """``rising weight * mean(distance * (p - truth)) + dice_weight * ... + ce_weight * ...``.

    The authors' loss without the constant that makes it negative. Alone it is content with nothing predicted where a
    patch is all background, hence the other two terms.
    """

    boundary_weight: float = 1.0
    """At the end of the training."""
    start: float = 0.01
    """Share of the weight at the beginning of the training, from where it rises evenly: the authors begin with a weight
    of 0.01 beside a regional loss and add as much every epoch. 1: it is always the same."""
    dice_weight: float = 1.0
    ce_weight: float = 1.0
    batch_dice: bool = False
    """True: one Dice over all patches of a batch, as if they were one; False: one per patch."""
    smooth: float = 1e-5

    def __post_init__(self) -> None:
        refuse_impossible(self)
        bounded(self, "start", least=0, most=1)

    def build(self, labels: Labels) -> Callable[[Tensor, Tensor], Tensor]:
        """``loss(logits (B, heads, *patch), target (B, *patch) of label indices) -> scalar``."""
        from ._shape import boundary
        from ._terms import WeightedSum, cross_entropy, soft_dice

        dice, far = soft_dice(batch=self.batch_dice, smooth=self.smooth), boundary(start=self.start)
        terms = ((self.boundary_weight, far), (self.dice_weight, dice), (self.ce_weight, cross_entropy()))
        return WeightedSum(labels, *terms)
