"""Gaussian filter: a weighted mean of the neighbourhood, which lowers noise and blurs edges alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...core.bounds import bounded

LARGEST_SIGMA = 50.0  # mm
WIDEST = 8  # a standard deviation is at most this part of the image: beyond, everything is one mean already


@dataclass(frozen=True)
class Spec:
    """Its width."""

    sigma: float = 0.5
    """Standard deviation in mm, along all axes."""

    def __post_init__(self) -> None:
        bounded(self, "sigma", above=0, most=LARGEST_SIGMA)

    def apply(self, channel: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
        """A float32 copy of ``channel`` (z, y, x); ``spacing`` in mm. Beyond its edges the image is mirrored."""
        from scipy.ndimage import gaussian_filter

        sigma = [min(self.sigma / edge, size / WIDEST) for edge, size in zip(spacing, channel.shape)]
        smoothed: np.ndarray = gaussian_filter(channel.astype(np.float32, copy=False), sigma, mode="reflect")
        return smoothed
