"""Non-local means: a mean over voxels whose neighbourhoods look alike (scikit-image's ``denoise_nl_means``).

Buades, Coll and Morel, *A non-local algorithm for image denoising* (CVPR 2005), with the noise's variance taken off the
differences of neighbourhoods. The noise is measured in each image: the median difference of neighbours along x, which
for independent Gaussian noise is 0.6745 times the square root of 2 times its standard deviation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...core.bounds import bounded

MEDIAN_DEVIATION = 0.6745  # of a Gaussian of standard deviation 1: its median absolute value


@dataclass(frozen=True)
class Spec:
    """What is compared, how far away, and how much is smoothed."""

    patch_size: int = 3
    """Voxels along each edge of the neighbourhoods that are compared."""
    patch_distance: int = 3
    """How far away, in voxels, alike neighbourhoods are looked for."""
    strength: float = 0.8
    """Differences of neighbourhoods up to about this times the noise's standard deviation count as none."""

    def __post_init__(self) -> None:
        bounded(self, "patch_size", least=1, most=9)
        bounded(self, "patch_distance", least=1, most=11)
        bounded(self, "strength", above=0, most=10)

    def apply(self, channel: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
        """A float32 copy of ``channel`` (z, y, x). It is in voxels: ``spacing`` changes nothing."""
        from skimage.restoration import denoise_nl_means

        noise = noise_of(channel)
        if noise <= 0:
            return channel.astype(np.float32)
        image = np.ascontiguousarray(channel[0] if channel.shape[0] == 1 else channel, np.float32)
        found: np.ndarray = denoise_nl_means(
            image,
            patch_size=self.patch_size,
            patch_distance=self.patch_distance,
            h=self.strength * noise,
            sigma=noise,
            fast_mode=True,
            preserve_range=True,
        )
        return found.reshape(channel.shape).astype(np.float32, copy=False)


def noise_of(channel: np.ndarray) -> float:
    """The standard deviation of the noise in (z, y, x), from neighbours of which neither is exactly 0."""
    left, right = channel[..., :-1], channel[..., 1:]
    differences = np.abs(right - left)[(left != 0) & (right != 0)]
    return float(np.median(differences)) / MEDIAN_DEVIATION / math.sqrt(2) if differences.size else 0.0
