"""Noise-robust Dice (Wang et al. 2020), for labels of which some are wrong; with cross-entropy if wished."""

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
    """``noise_robust_weight * mean(sum |p - truth| ** gamma / (sum p ** 2 + sum truth ** 2)) + ce_weight * ...``.

    The mean is over the labels that are there, background among them. A region and what it leaves out are two labels.
    """

    gamma: float = 1.5
    """As the authors; 1: large errors count no more than their size, so that wrong labels pull least; 2: as Dice."""
    noise_robust_weight: float = 1.0
    ce_weight: float = 0.0
    batch_dice: bool = False
    """True: one quotient over all patches of a batch, as if they were one; False: one per patch."""
    smooth: float = 1e-5

    def __post_init__(self) -> None:
        refuse_impossible(self)
        bounded(self, "gamma", least=1, most=2)

    def build(self, labels: Labels) -> Callable[[Tensor, Tensor], Tensor]:
        """``loss(logits (B, heads, *patch), target (B, *patch) of label indices) -> scalar``."""
        from ._terms import WeightedSum, cross_entropy, noise_robust_dice

        robust = noise_robust_dice(gamma=self.gamma, batch=self.batch_dice, smooth=self.smooth)
        return WeightedSum(labels, (self.noise_robust_weight, robust), (self.ce_weight, cross_entropy()))
