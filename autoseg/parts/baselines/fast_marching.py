"""Fast marching (Sethian 1996): a front starts at the seeds of every label and is slow where the image is steep.

The background has a front, too. Each voxel belongs to the label whose front arrives first, so no time has to be chosen
at which fronts stop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.evidence import Hints
from ._seeds import USUAL, Seeded, gradient
from ._settings import candidates

QUANTILES = (0.8, 0.95)
SLOWEST = 1e-3  # of the speed where the image is flat


@dataclass(frozen=True)
class Spec(Seeded):
    """Of one channel, in 3-D."""

    steep: float | None = None
    """Quantile of the gradient at which a front is half as fast as in flat places; None: 0.8 and 0.95 are tried."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steep is not None and not 0 < self.steep < 1:
            raise ValueError(f"steep must be between 0 and 1, found {self.steep}")

    def candidates(self) -> tuple[Spec, ...]:
        return candidates(self, seeds=USUAL, steep=QUANTILES)

    def segment(self, image: np.ndarray, spacing: Sequence[float], hints: Hints | None) -> np.ndarray:
        assert hints is not None
        slope = gradient(image[0], spacing, 1.0)
        half = max(1e-6, float(np.quantile(slope, QUANTILES[0] if self.steep is None else self.steep)))
        speed = np.maximum(SLOWEST, 1 / (1 + (slope / half) ** 2)).astype(np.float32)
        seeds = self.seeded(hints)
        found, first = np.zeros(seeds.shape, np.int32), np.full(seeds.shape, np.inf, np.float32)
        for label in range(len(hints.places)):
            begin = seeds == label + 1
            if begin.any():
                arrival = _arrival(speed, begin, spacing)
                wins = arrival < first
                found[wins], first[wins] = label, arrival[wins]
        return found


def _arrival(speed: np.ndarray, begin: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """When the front that starts at ``begin`` arrives; 0 there. Only the surface of the start is handed over."""
    import SimpleITK
    from scipy.ndimage import binary_erosion

    image: Any = SimpleITK.GetImageFromArray(speed)
    image.SetSpacing([float(edge) for edge in reversed(spacing)])
    surface = np.argwhere(begin & ~binary_erosion(begin))[:, ::-1]
    marching = SimpleITK.FastMarchingImageFilter()
    marching.SetNumberOfThreads(1)
    marching.SetTrialPoints(surface.tolist())
    arrival: np.ndarray = SimpleITK.GetArrayFromImage(marching.Execute(image)).astype(np.float32)
    arrival[begin] = 0
    return arrival
