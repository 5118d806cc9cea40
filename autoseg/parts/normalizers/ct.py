"""Computed tomography: one window and scale for the whole dataset, since Hounsfield units mean the same everywhere.

Clip to the 0.5 and 99.5 percentile of the training foreground, subtract its mean, divide by its standard deviation
(Isensee et al. 2021). The statistics are part of the plan, so prediction needs no fingerprint.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.bounds import bounded

LARGEST = 1e30  # float32 ends at 3e38
SMALLEST_STD = 1e-8  # nnU-Net v2 2.8.1: keeps a constant channel finite


@dataclass(frozen=True)
class Spec:
    """Foreground statistics of one channel over all training cases, in the image's own unit."""

    mean: float
    std: float
    percentile_00_5: float
    percentile_99_5: float
    mask: ClassVar[bool] = False

    def __post_init__(self) -> None:
        bounded(self, *vars(self), least=-LARGEST, most=LARGEST)
        bounded(self, "std", least=0)
        if self.percentile_00_5 > self.percentile_99_5:
            raise ValueError(f"percentile_00_5 must not exceed percentile_99_5, found {self}")

    def apply(self, channel: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        """A normalised float32 copy of ``channel`` (z, y, x)."""
        clipped = np.clip(channel, np.float32(self.percentile_00_5), np.float32(self.percentile_99_5))
        clipped -= np.float32(self.mean)
        clipped /= np.float32(max(self.std, SMALLEST_STD))
        return clipped.astype(np.float32, copy=False)
