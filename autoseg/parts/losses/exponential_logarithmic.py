"""Exponential logarithmic loss (Wong et al. 2018), for structures of very different size."""

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
    """``dice_weight * mean((-ln Dice) ** gamma_dice) + ce_weight * mean(w * (-ln p) ** gamma_ce)``.

    w is the square root of all voxels of a batch over those of the label. Defaults are the authors'; background has
    no Dice of its own.
    """

    gamma_dice: float = 0.3
    gamma_ce: float = 0.3
    dice_weight: float = 0.8
    ce_weight: float = 0.2
    batch_dice: bool = False
    """True: one Dice over all patches of a batch, as if they were one; False: one per patch."""
    smooth: float = 1.0

    def __post_init__(self) -> None:
        refuse_impossible(self)
        bounded(self, "gamma_dice", "gamma_ce", above=0)

    def build(self, labels: Labels) -> Callable[[Tensor, Tensor], Tensor]:
        """``loss(logits (B, heads, *patch), target (B, *patch) of label indices) -> scalar``."""
        from ._terms import WeightedSum, exponential_dice, exponential_entropy

        dice = exponential_dice(gamma=self.gamma_dice, batch=self.batch_dice, smooth=self.smooth)
        entropy = exponential_entropy(gamma=self.gamma_ce, exclusive=labels.exclusive)
        return WeightedSum(labels, (self.dice_weight, dice), (self.ce_weight, entropy))
