"""Positron emission tomography in standardised uptake values: one range for all images, since an SUV means the same
everywhere (body weight times activity per millilitre over the injected activity).

Values are clipped to the range, and the range becomes 0 to 1. The bladder and the brain exceed most tumours, and what
lies above the range tells them apart no better.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.bounds import bounded

LARGEST = 1000.0  # SUV: all activity in one millilitre of a patient of 70 kg is 70 000, no image shows it


@dataclass(frozen=True)
class Spec:
    """The range."""

    low: float = 0.0
    high: float = 20.0
    """Tumours have 2 to 20, rarely more."""
    mask: ClassVar[bool] = False

    def __post_init__(self) -> None:
        bounded(self, "low", "high", least=-LARGEST, most=LARGEST)
        if not self.low < self.high:
            raise ValueError(f"low must be below high, found {self.low:g} and {self.high:g}")

    def apply(self, channel: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        """A float32 copy of ``channel`` (z, y, x) in SUV, with values in 0..1."""
        clipped = np.clip(channel, np.float32(self.low), np.float32(self.high))
        clipped -= np.float32(self.low)
        clipped /= np.float32(self.high - self.low)
        return clipped.astype(np.float32, copy=False)
