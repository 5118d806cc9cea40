"""What a box of an image does not tell: how large the whole image is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

CUBIC_MM_PER_ML = 1000.0


@dataclass(frozen=True)
class Extent:
    """Of an image, of which scores look at the box around a label only."""

    voxels: int
    """Those that are annotated."""
    diagonal_mm: float
    """The largest distance that the image can show."""
    voxel_ml: float
    """Volume of a voxel; NaN for pixels of a 2-D image, which have an area only."""

    @classmethod
    def of(cls, shape: Sequence[int], spacing: Sequence[float]) -> Extent:
        """A whole image; ``spacing`` in mm, one number per axis."""
        volume = math.prod(spacing) / CUBIC_MM_PER_ML if len(spacing) == 3 else math.nan
        return cls(math.prod(shape), math.hypot(*(size * step for size, step in zip(shape, spacing))), volume)
