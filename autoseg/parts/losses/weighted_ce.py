"""Cross-entropy with a weight per label, for labels that are few among many voxels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...core.labels import Labels
from ...errors import RecordError
from ._checks import refuse_impossible

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Spec:
    """``ce_weight * weighted mean cross-entropy + dice_weight * (1 - mean soft Dice)``."""

    weights: tuple[float, ...] = ()
    """One per head: background first and the labels by ascending value, or the regions in their order, each against
    weight 1 outside it. Empty: all labels present in a batch weigh the same, however few their voxels."""
    ce_weight: float = 1.0
    dice_weight: float = 0.0
    batch_dice: bool = False
    """True: one Dice over all patches of a batch, as if they were one; False: one per patch."""
    smooth: float = 1e-5

    def __post_init__(self) -> None:
        refuse_impossible(self)
        if self.weights and not any(self.weights):
            raise ValueError("one of the weights must be above 0")

    def build(self, labels: Labels) -> Callable[[Tensor, Tensor], Tensor]:
        """``loss(logits (B, heads, *patch), target (B, *patch) of label indices) -> scalar``.

        Raises RecordError unless there is one weight per head or none.
        """
        from ._terms import WeightedSum, soft_dice, weighted_entropy

        if self.weights and len(self.weights) != labels.heads:
            names = ", ".join(labels.foreground)
            names = f"background, {names}" if labels.heads > len(labels.foreground) else names
            raise RecordError(f"loss.weights has {len(self.weights)} entries; give one each for {names}")
        dice = soft_dice(batch=self.batch_dice, smooth=self.smooth)
        entropy = weighted_entropy(weights=self.weights, exclusive=labels.exclusive)
        return WeightedSum(labels, (self.ce_weight, entropy), (self.dice_weight, dice))
