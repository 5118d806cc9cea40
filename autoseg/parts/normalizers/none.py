"""Leaves intensities as they are: for maps whose values are already comparable (probabilities, diffusion metrics)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np


@dataclass(frozen=True)
class Spec:
    """No choice to make."""

    mask: ClassVar[bool] = False

    def apply(self, channel: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        """``channel`` (z, y, x) as float32."""
        return channel.astype(np.float32, copy=False)
