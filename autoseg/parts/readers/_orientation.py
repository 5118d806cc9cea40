"""Pictures that are stored turned and say so: tag 274 of EXIF 2.3 and TIFF 6.0."""

from __future__ import annotations

import numpy as np

_FLIPPED = {2: (-1,), 3: (-2, -1), 4: (-2,), 6: (-1,), 7: (-2, -1), 8: (-2,)}
"""Axes of (..., y, x) to reverse, after 5 to 8 have been transposed."""


def swaps_axes(orientation: int) -> bool:
    """Whether the upright picture has as many rows as the stored one has columns."""
    return 5 <= orientation <= 8


def upright(array: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels (..., y, x) as the picture is meant to be seen; other numbers than 2 to 8 change nothing."""
    if swaps_axes(orientation):
        array = np.swapaxes(array, -2, -1)
    return np.ascontiguousarray(np.flip(array, _FLIPPED.get(orientation, ())))  # torch knows no reversed axes
