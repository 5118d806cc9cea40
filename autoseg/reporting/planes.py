"""How a volume is cut and turned so that a radiologist sees it as usual.

Radiological convention: axial slices are seen from the feet and coronal ones from the front, so the patient's right is
on the left of the picture; sagittal ones from the patient's left, so the front is on the left. Where the axes of a file
point to says its direction, as far as it can: each axis goes along that of the patient to which it is closest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.geometry import Geometry

ORIENTATION = "LPS"  # where x, y and z point to once a volume is turned
FIRST = ("the feet", "the front", "the right")
"""Where slices across each axis of a turned volume begin."""
Letters = tuple[str, str, str, str]


@dataclass(frozen=True)
class Plane:
    """One way to cut a turned volume (z, y, x)."""

    name: str
    axis: int
    """Across which slices are cut."""
    letters: Letters | None
    """Left, right, top and bottom of the picture; None: not known."""

    def cut(self, volume: np.ndarray, index: int) -> np.ndarray:
        """Rows from top to bottom, columns from left to right."""
        found: np.ndarray = np.take(volume, index, self.axis)
        return found if self.axis == 0 else found[::-1]  # z runs upwards, rows run downwards

    def told(self, index: int, count: int) -> str:
        """Which slice this is, ``slice 3 of 20, from the feet``; nothing where there is one."""
        return "" if count == 1 else f"slice {index + 1} of {count}, {self.order}"

    @property
    def order(self) -> str:
        """Where slices begin."""
        return f"from {FIRST[self.axis]}"


PLANES = (
    Plane("axial", 0, ("R", "L", "A", "P")),
    Plane("coronal", 1, ("R", "L", "S", "I")),
    Plane("sagittal", 2, ("A", "P", "S", "I")),
)
FLAT = (Plane("image", 0, None),)


def planes(geometry: Geometry) -> tuple[Plane, ...]:
    """A picture has one, and nobody knows how it lies in the patient."""
    return FLAT if geometry.dimensions == 2 else PLANES


def turned(array: np.ndarray, geometry: Geometry) -> np.ndarray:
    """(z, y, x) as in the file, so that x, y and z point to the patient's left, back and head. A view."""
    order, reversed_axes = geometry.towards(ORIENTATION)
    return np.flip(array.transpose(order), reversed_axes)


def turned_spacing(geometry: Geometry) -> tuple[float, float, float]:
    """mm along the axes of what ``turned`` returns."""
    order, _ = geometry.towards(ORIENTATION)
    return geometry.spacing[order[0]], geometry.spacing[order[1]], geometry.spacing[order[2]]
