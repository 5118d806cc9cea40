"""Fills background that a label encloses on all sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ._components import box_of


@dataclass(frozen=True)
class Spec:
    """No settings."""

    whole_foreground: ClassVar[bool] = False

    @classmethod
    def candidates(cls) -> tuple[Spec, ...]:
        return (cls(),)

    def apply(self, mask: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
        """A hole that touches the image's border is open and stays."""
        from scipy.ndimage import binary_fill_holes

        box = box_of(mask)
        if box is None:
            return mask
        filled = mask.copy()
        filled[box] = binary_fill_holes(mask[box])
        return filled
