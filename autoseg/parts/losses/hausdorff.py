"""Hausdorff loss by distance transforms (Karimi and Salcudean 2019) beside Dice and cross-entropy.

Errors cost more the farther they lie from the true and from the predicted border, in mm. The processor computes both
distances anew in every step, also when the network trains on a GPU: twice as long as for ``boundary``.
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
    """``hausdorff_weight * mean((p - truth) ** 2 * (d ** exponent + d_predicted ** exponent)) + ...``, d in mm.

    The predicted border, where p passes 0.5, is taken as given: no gradient flows through its distances. A border that
    is not in the patch has the distance 0.
    """

    hausdorff_weight: float = 0.01
    """The authors weigh it anew in every epoch so that it is as large as the Dice loss."""
    exponent: float = 2.0
    """As the authors found best."""
    dice_weight: float = 1.0
    ce_weight: float = 1.0
    batch_dice: bool = False
    """True: one Dice over all patches of a batch, as if they were one; False: one per patch."""
    smooth: float = 1e-5

    def __post_init__(self) -> None:
        refuse_impossible(self)
        bounded(self, "exponent", above=0, most=4)

    def build(self, labels: Labels) -> Callable[[Tensor, Tensor], Tensor]:
        """``loss(logits (B, heads, *patch), target (B, *patch) of label indices) -> scalar``."""
        from ._shape import hausdorff
        from ._terms import WeightedSum, cross_entropy, soft_dice

        dice, far = soft_dice(batch=self.batch_dice, smooth=self.smooth), hausdorff(exponent=self.exponent)
        terms = ((self.hausdorff_weight, far), (self.dice_weight, dice), (self.ce_weight, cross_entropy()))
        return WeightedSum(labels, *terms)
