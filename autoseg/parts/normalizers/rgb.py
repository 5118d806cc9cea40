"""Eight-bit photographs: 0..255 becomes 0..1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...errors import DatasetError


@dataclass(frozen=True)
class Spec:
    """No choice to make."""

    mask: ClassVar[bool] = False

    def apply(self, channel: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        """A float32 copy of ``channel`` (z, y, x) divided by 255. Raises DatasetError for values outside 0..255."""
        low, high = float(channel.min()), float(channel.max())
        if low < 0 or high > 255:
            raise DatasetError(
                f"a channel named rgb_to_0_1 must hold values in 0..255, found {low:g}..{high:g}; "
                "name the channel differently in dataset.json to have it normalised by its own statistics"
            )
        return (channel / np.float32(255)).astype(np.float32, copy=False)
