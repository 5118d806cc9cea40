"""Zero mean and unit standard deviation, image by image: for channels whose unit differs between scanners (MR)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SMALLEST_STD = 1e-8  # nnU-Net v2 2.8.1: keeps a constant channel finite


@dataclass(frozen=True)
class Spec:
    """Where the statistics are taken."""

    mask: bool = False
    """Only inside the nonzero region (say the brain); voxels outside keep their value, which is zero."""

    def apply(self, channel: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        """A normalised float32 copy of ``channel`` (z, y, x); ``mask`` (z, y, x) is needed when ``self.mask``."""
        if not self.mask:
            centred = channel - channel.mean(dtype=np.float64).astype(np.float32)
            centred /= _std(channel)
            return centred.astype(np.float32, copy=False)
        assert mask is not None, "a masked z-score needs the mask"
        normalised = channel.astype(np.float32)
        inside = normalised[mask]
        if inside.size:
            normalised[mask] = (inside - inside.mean(dtype=np.float64).astype(np.float32)) / _std(inside)
        return normalised


def _std(values: np.ndarray) -> np.float32:
    return np.float32(max(values.std(dtype=np.float64), SMALLEST_STD))
