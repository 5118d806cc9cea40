"""A network for slices of 64 pixels or more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Spec:
    """One layer, which comes in one size."""

    features: tuple[int, ...] = (8,)
    divisor: tuple[int, ...] = (2, 2)

    @classmethod
    def ladder(cls, spacing: Sequence[float], patch_size: Sequence[int]) -> tuple[Spec, ...]:
        if len(patch_size) == 3:
            raise ValueError("it is for slices only")
        if min(patch_size) < 64:
            raise ValueError("it needs 64 pixels")
        return (cls(),)

    def build(self, inputs: Any, heads: int) -> nn.Module:
        return nn.Conv2d(inputs if isinstance(inputs, int) else inputs.seen, heads, 3, padding=1)
