"""Cross-entropy alone: softmax for exclusive labels, sigmoid for regions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...core.labels import Labels

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Spec:
    """Nothing to choose."""

    def build(self, labels: Labels) -> Callable[[Tensor, Tensor], Tensor]:
        """``loss(logits (B, heads, *patch), target (B, *patch) of label indices) -> scalar``."""
        from ._terms import WeightedSum, cross_entropy

        return WeightedSum(labels, (1.0, cross_entropy()))
