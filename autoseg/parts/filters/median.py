"""Median filter: removes single outlying voxels and keeps edges.

Each voxel becomes the median of the cube of ``2 radius + 1`` voxels around it. Along an axis whose voxels are more than
twice as long as the shortest, neighbours lie too far away to be further looks at the same place: there it is one voxel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...core.bounds import bounded
from ._simpleitk import as_array, as_image, run

LARGEST_RADIUS = 5  # voxels: a cube of 11 has 1331
ALIKE = 2.0  # times the shortest edge of a voxel


@dataclass(frozen=True)
class Spec:
    """How far it looks."""

    radius: int = 1
    """Voxels to each side."""

    def __post_init__(self) -> None:
        bounded(self, "radius", least=1, most=LARGEST_RADIUS)

    def apply(self, channel: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
        """A float32 copy of ``channel`` (z, y, x); ``spacing`` in mm."""
        import SimpleITK

        image = as_image(channel, spacing)
        filter_ = SimpleITK.MedianImageFilter()
        finest = min(image.GetSpacing())
        filter_.SetRadius([self.radius if edge <= ALIKE * finest else 0 for edge in image.GetSpacing()])
        return as_array(run(filter_, "the median filter", image))
