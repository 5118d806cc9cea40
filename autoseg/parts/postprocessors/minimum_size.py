"""Removes connected components that are too small to be real: for structures of which there may be any number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.components import without


@dataclass(frozen=True)
class Spec:
    """A component smaller than ``size`` goes."""

    whole_foreground: ClassVar[bool] = True

    size: float
    """mm3; mm2 in 2-D images."""

    def __post_init__(self) -> None:
        if not 0 < self.size < math.inf:
            raise ValueError(f"size must be above 0, found {self.size}")

    @classmethod
    def candidates(cls) -> tuple[Spec, ...]:
        return tuple(cls(float(size)) for size in (10, 30, 100, 300, 1000, 3000, 10000))

    def apply(self, mask: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
        """Every component may go: a mask of crumbs comes back empty."""
        smallest = self.size / math.prod(spacing)
        return without(mask, lambda sizes: sizes < smallest)
