"""A sample of an array at regular distances: the same array always gives the same one."""

from __future__ import annotations

import numpy as np


def regular(flat: np.ndarray, count: int) -> np.ndarray:
    """About ``count`` of the elements, or all. A view."""
    sample: np.ndarray = flat[:: step(flat.size, count)]
    return sample


def step(size: int, count: int) -> int:
    """From one of about ``count`` out of ``size`` voxels to the next: an odd step does not stay in one column."""
    return max(1, size // count) | 1
