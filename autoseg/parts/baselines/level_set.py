"""A contour that moves: Chan and Vese 2001, or the geodesic active contour (Caselles, Kimmel and Sapiro 1997).

Both in their morphological form (Marquez-Neila, Baumela and Alvarez 2014). Of each label the contour starts around its
seeds: the first form makes the image inside and outside as uniform as can be, the second is drawn to steep places.
Voxels of several labels become the likeliest one. It looks only where training cases had the label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...core.evidence import Hints
from ...core.geometry import bounding_slices
from ._seeds import Seeded
from ._settings import candidates

CHAN_VESE, GEODESIC = KINDS = ("chan_vese", "geodesic_active_contour")
SHARES = (0.6, 0.3)


@dataclass(frozen=True)
class Spec(Seeded):
    """Of one channel, in 3-D."""

    kind: str | None = None
    """``chan_vese`` or ``geodesic_active_contour``; None: both are tried."""
    iterations: int = 40

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind is not None and self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, found {self.kind!r:.100}")

    def candidates(self) -> tuple[Spec, ...]:
        return candidates(self, seeds=SHARES, kind=KINDS)

    def segment(self, image: np.ndarray, spacing: Sequence[float], hints: Hints | None) -> np.ndarray:
        assert hints is not None
        seeds = self.seeded(hints)
        found, best = np.zeros(seeds.shape, np.int32), np.zeros(seeds.shape, np.float32)
        for label in range(1, len(hints.places)):
            begin, possible = seeds == label + 1, hints.possible(label)
            box = bounding_slices(begin | possible)
            if box is None or not begin.any():
                continue
            moved = self._moved(image[0][box], begin[box]) & possible[box]
            chance = hints.probabilities[label][box]
            wins = moved & (chance > best[box])
            found[box][wins], best[box][wins] = label, chance[wins]
        return found

    def _moved(self, channel: np.ndarray, begin: np.ndarray) -> np.ndarray:
        from skimage.segmentation import (
            inverse_gaussian_gradient,
            morphological_chan_vese,
            morphological_geodesic_active_contour,
        )

        if min(channel.shape) < 2:
            return begin
        if (self.kind or CHAN_VESE) == CHAN_VESE:
            moved = morphological_chan_vese(channel, self.iterations, init_level_set=begin, smoothing=1)
        else:
            slow = inverse_gaussian_gradient(channel, alpha=20.0, sigma=1.0)
            moved = morphological_geodesic_active_contour(
                slow, self.iterations, init_level_set=begin, smoothing=1, balloon=1
            )
        found: np.ndarray = np.asarray(moved) > 0
        return found
