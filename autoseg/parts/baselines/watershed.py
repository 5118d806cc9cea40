"""Watershed from seeds on the size of the gradient (Beucher and Lantuejoul 1979; Meyer 1994).

Every seed, those of the background too, floods the gradient from low to high; labels meet where it is highest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...core.evidence import Hints
from ._seeds import USUAL, Seeded, gradient
from ._settings import candidates

SIGMAS = (1.0, 0.5)


@dataclass(frozen=True)
class Spec(Seeded):
    """Of one channel, in 3-D."""

    sigma: float | None = None
    """Voxels over which the image is smoothed first; None: 0.5 and 1 are tried."""

    def candidates(self) -> tuple[Spec, ...]:
        return candidates(self, seeds=USUAL, sigma=SIGMAS)

    def segment(self, image: np.ndarray, spacing: Sequence[float], hints: Hints | None) -> np.ndarray:
        from skimage.segmentation import watershed

        assert hints is not None
        steep = gradient(image[0], spacing, SIGMAS[0] if self.sigma is None else self.sigma)
        flooded = watershed(steep, self.seeded(hints))
        return np.maximum(flooded.astype(np.int32) - 1, 0)
