"""A channel as registration sees it: without outliers, on grids from coarse to fine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.geometry import Geometry
from ..parts.readers.simpleitk import place
from .grids import places_of

OUTLIERS = (0.5, 99.5)  # percentiles; beyond them values are cut off, as a few bright vessels would fill a histogram
LOOKED_AT = 200_000  # voxels, at regular distances
MARGIN = 0.05  # of the content's size along each axis, around it
LEAST_EDGE = 8  # voxels that an axis keeps on the coarsest grid, if it has them


@dataclass(frozen=True)
class Volume:
    """Voxels and their grid."""

    array: np.ndarray
    """float32, (z, y, x)."""
    geometry: Geometry

    @classmethod
    def of(cls, channel: np.ndarray, geometry: Geometry) -> Volume:
        """With its outliers cut off; what is no number gets the lowest value."""
        sample = channel.reshape(-1)[:: max(1, channel.size // LOOKED_AT) | 1]  # an odd step stays in no column
        sample = sample[np.isfinite(sample)]
        low, high = np.percentile(sample, OUTLIERS).tolist() if sample.size else (0.0, 0.0)
        cut = np.clip(channel, np.float32(low), np.float32(high), dtype=np.float32)
        return cls(np.nan_to_num(cut, copy=False, nan=low), geometry)

    def content(self) -> np.ndarray:
        """(2, 3): first and last voxel (z, y, x) of the box around what is brighter than the mean; where noise is, too,
        its outermost hundredths count as outside."""
        bright = self.array > self.array.mean()
        box = np.array([[0] * 3, [size - 1 for size in self.array.shape]], float)
        for axis in range(3):
            counts = np.cumsum(bright.sum(axis=_others(axis)))
            if not counts[-1]:
                return box
            first, last = np.searchsorted(counts, [0.005 * counts[-1], 0.995 * counts[-1]])
            margin = MARGIN * (last - first)
            box[:, axis] = max(0, first - margin), min(len(counts) - 1, last + margin)
        return box

    def within(self, box: np.ndarray) -> Volume:
        """The voxels of ``box``."""
        start, stop = np.floor(box[0]).astype(int), np.ceil(box[1]).astype(int) + 1
        array = self.array[tuple(slice(a, b) for a, b in zip(start, stop))]
        z, y, x = array.shape
        origin = tuple(places_of(self.geometry, start[None].astype(float))[0].tolist())
        return Volume(array, Geometry((z, y, x), self.geometry.spacing, origin, self.geometry.direction))

    def coarser(self, edge: float) -> Volume:
        """With voxels of about ``edge`` mm along the axes that have smaller ones, each the mean of those in it."""
        factors = [
            max(1, min(round(edge / spacing), size // LEAST_EDGE or 1))
            for spacing, size in zip(self.geometry.spacing, self.array.shape)
        ]
        array = self.array
        for axis, factor in enumerate(factors):
            if factor > 1:
                size = array.shape[axis] // factor
                kept = array[(slice(None),) * axis + (slice(0, size * factor),)]
                array = kept.reshape(*array.shape[:axis], size, factor, *array.shape[axis + 1 :]).mean(axis + 1)
        middle = (np.array(factors, float) - 1) / 2
        origin = tuple(places_of(self.geometry, middle[None])[0].tolist())
        (z, y, x), (dz, dy, dx) = array.shape, self.geometry.spacing
        spacing = (dz * factors[0], dy * factors[1], dx * factors[2])
        return Volume(
            np.ascontiguousarray(array, np.float32), Geometry((z, y, x), spacing, origin, self.geometry.direction)
        )

    def centre_of_mass(self) -> np.ndarray:
        """Millimetres, x y z; of values above the smallest."""
        weights = self.array - self.array.min()
        total = float(weights.sum(dtype=np.float64))
        if not total:
            return places_of(self.geometry, (np.array(self.array.shape) - 1)[None] / 2)[0]
        centre = [
            float(weights.sum(axis=_others(axis), dtype=np.float64) @ np.arange(size))
            for axis, size in enumerate(self.array.shape)
        ]
        return places_of(self.geometry, np.array(centre)[None] / total)[0]

    def image(self) -> Any:
        """As a SimpleITK image."""
        import SimpleITK as sitk

        found = sitk.GetImageFromArray(self.array)
        place(found, self.geometry)
        return found


def _others(axis: int) -> tuple[int, ...]:
    return tuple(other for other in range(3) if other != axis)
