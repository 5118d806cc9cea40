"""How much two channels tell about each other: their normalised mutual information at the same places.

NMI = (H(A) + H(B)) / H(A, B), with entropies of the joint histogram, from 1 to 2 (Studholme, Hill and Hawkes 1999, An
overlap invariant entropy measure of 3D medical image alignment).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.geometry import Geometry
from ..core.seeds import generator
from .grids import indices_of, inside, places_of

BINS = 48
POINTS = 1 << 15
FEWEST = 0.1  # of the points that must lie in both channels, so that anything can be said


def normalised_mutual_information(first: np.ndarray, second: np.ndarray, bins: int = BINS) -> float:
    """Of two samples (n) of values at the same places; 1.0 where one of them is constant or there are none."""
    if not first.size:
        return 1.0
    joint = np.bincount(_binned(first, bins) * bins + _binned(second, bins), minlength=bins * bins)
    shares = joint.reshape(bins, bins) / first.size
    both = _entropy(shares)
    alone = _entropy(shares.sum(0)), _entropy(shares.sum(1))
    return sum(alone) / both if min(alone) > 0 else 1.0


def _binned(values: np.ndarray, bins: int) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    if not high > low:
        return np.zeros(values.shape, np.int64)
    found: np.ndarray = np.minimum(((values - low) * (bins / (high - low))).astype(np.int64), bins - 1)
    return found


def _entropy(shares: np.ndarray) -> float:
    there = shares[shares > 0]
    return float(-(there * np.log(there)).sum())


@dataclass(frozen=True)
class Similarity:
    """Of two channels at places that are drawn once, between voxels: on voxels themselves, which are not blurred by
    interpolation, the headers of two channels on one grid would always win."""

    places: np.ndarray
    """(n, 3) in mm, x y z, within the reference."""
    values: np.ndarray
    """(n) of the reference there."""
    channel: np.ndarray
    """(z, y, x)."""
    geometry: Geometry
    """Of ``channel``."""

    @classmethod
    def within(
        cls, box: np.ndarray, reference: np.ndarray, its: Geometry, channel: np.ndarray, geometry: Geometry
    ) -> Similarity:
        """At random places of ``box`` (2, 3), its first and last voxels (z, y, x) in ``reference``."""
        drawn = generator(0, "similarity").uniform(size=(POINTS, 3))
        indices = box[0] + drawn * (box[1] - box[0])
        return cls(places_of(its, indices), interpolated(reference, indices), channel, geometry)

    def at(self, matrix: np.ndarray, offset: np.ndarray, every: int = 1) -> float:
        """With the channel at ``matrix @ place + offset``; 1.0 where too little of it lies there.

        ``every`` looks at one in so many places.
        """
        indices = indices_of(self.geometry, self.places[::every] @ matrix.T + offset)
        both = inside(indices, self.channel.shape)
        if both.mean() < FEWEST:
            return 1.0
        return normalised_mutual_information(self.values[::every][both], interpolated(self.channel, indices[both]))


def interpolated(array: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Linearly, at (n, 3) indices (z, y, x) of (z, y, x); beyond the outermost voxels these count."""
    from scipy.ndimage import map_coordinates

    found: np.ndarray = map_coordinates(array, indices.T, order=1, mode="nearest", prefilter=False)
    return found
