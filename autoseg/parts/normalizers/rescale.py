"""Each image's smallest value becomes 0 and its largest 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

SMALLEST_RANGE = 1e-8  # nnU-Net v2 2.8.1: keeps a constant channel finite


@dataclass(frozen=True)
class Spec:
    """No choice to make."""

    mask: ClassVar[bool] = False

    def apply(self, channel: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        """A float32 copy of ``channel`` (z, y, x) with values in 0..1."""
        shifted = (channel - channel.min()).astype(np.float32, copy=False)
        shifted /= max(float(shifted.max()), SMALLEST_RANGE)
        return shifted
