"""Fills background that a label encloses on all sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.components import without_holes
from ...core.geometry import bounding_slices


@dataclass(frozen=True)
class Spec:
    """No settings."""

    whole_foreground: ClassVar[bool] = False

    @classmethod
    def candidates(cls) -> tuple[Spec, ...]:
        return (cls(),)

    def apply(self, mask: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
        """A hole that touches the image's border is open and stays."""
        box = bounding_slices(mask)
        if box is None:
            return mask
        filled = mask.copy()
        filled[box] = without_holes(mask[box])
        return filled
