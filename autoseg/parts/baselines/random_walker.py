"""Random walker (Grady 2006): each voxel becomes the label whose seeds a random walk from it reaches first, likeliest.

Walks seldom cross steep places. Seeds of all labels and of the background compete.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.evidence import Hints
from ._seeds import Seeded
from ._settings import candidates

BETAS = (130.0, 1000.0)
SHARES = (0.3, 0.1)
TOLERANCE = 1e-4  # of the equations that are solved: probabilities are compared, not published
OUTSIDE = 0.1  # how far beyond 0 and 1 this may lead before it is told


@dataclass(frozen=True)
class Spec(Seeded):
    """Of all channels, in 3-D."""

    largest: ClassVar[int | None] = 1 << 20
    one_channel: ClassVar[bool] = False

    beta: float | None = None
    """How much a step across a difference of intensities is hindered; None: 130 and 1000 are tried."""

    def candidates(self) -> tuple[Spec, ...]:
        return candidates(self, seeds=SHARES, beta=BETAS)

    def segment(self, image: np.ndarray, spacing: Sequence[float], hints: Hints | None) -> np.ndarray:
        from skimage.segmentation import random_walker

        assert hints is not None
        seeds = self.seeded(hints)
        there = np.unique(seeds)
        if len(there) < 3 or there[0] != 0:  # nothing to decide between, or nothing left to decide
            return np.maximum(seeds - 1, 0)
        numbered = np.searchsorted(there, seeds).astype(np.int32)
        walked = random_walker(
            np.moveaxis(image, 0, -1),
            numbered,
            beta=BETAS[0] if self.beta is None else self.beta,
            mode="cg_j",
            tol=TOLERANCE,
            prob_tol=OUTSIDE,
            spacing=[edge / min(spacing) for edge in spacing],
            channel_axis=-1,
        )
        return np.maximum(there[np.maximum(walked, 0)] - 1, 0).astype(np.int32)
