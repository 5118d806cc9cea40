"""Where voxels are. This is the one statement of axis order and units.

Image arrays are ``(channels, z, y, x)``, label maps ``(z, y, x)``, vectors ``(z, y, x)``, lengths millimetres.
A 2-D image is one slice: its arrays keep a z axis of length 1 and its slice spacing is
``SLICE_SPACING_2D`` times the larger in-plane spacing, so that no rule ever takes neighbouring slices together.
``origin`` and ``direction`` stay in the file's own (x, y[, z]) order: autoseg only hands them back to the writer.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

SLICE_SPACING_2D = 999.0  # as nnU-Net's readers write it (Isensee et al. 2021, nnU-Net v2 imageio)
SMALLEST_SPACING, LARGEST_SPACING = 1e-6, 1e7  # mm: a nanometre; a slice of an image whose pixels are ten metres apart
FILE_AXES = ("third axis (z)", "second axis (y)", "first axis (x)")  # what a person calls (z, y, x) of a file
PATIENT_AXES = ("LR", "PA", "SI")  # where the axes of the file's space point to, and their opposites


def is_orientation(text: str) -> bool:
    """Whether ``text`` names one end of each of the patient's axes, as ``RAS`` does."""
    return sorted(next((pair for pair in PATIENT_AXES if letter in pair), "") for letter in text) == sorted(
        PATIENT_AXES
    )


def axis_along(orientation: str, letter: str) -> int:
    """The axis of (z, y, x) that runs where ``letter`` says, or the other way, in arrays of this orientation."""
    patient = next(pair for pair in PATIENT_AXES if letter in pair)
    return 2 - next(index for index, each in enumerate(orientation) if each in patient)


@dataclass(frozen=True)
class Geometry:
    """Size and place of one image's voxels."""

    shape: tuple[int, int, int]
    """Voxels along (z, y, x)."""
    spacing: tuple[float, float, float]
    """Millimetres between voxel centres along (z, y, x)."""
    origin: tuple[float, ...]
    """Millimetres, (x, y, z) or (x, y): as in the file."""
    direction: tuple[float, ...]
    """Row-major direction cosines, 9 or 4 numbers: as in the file."""

    def __post_init__(self) -> None:
        """Raises ValueError for what is no place for voxels."""
        if min(self.shape) < 1:
            raise ValueError(f"its axes have {self.shape} voxels, none may be empty")
        if not all(0 < length < math.inf for length in self.spacing):
            raise ValueError(f"spacing must be positive, found {self.spacing} mm")
        if not all(map(math.isfinite, (*self.origin, *self.direction))):
            raise ValueError("origin or direction is NaN or infinite")

    @property
    def dimensions(self) -> int:
        """2 or 3, as in the file."""
        return len(self.origin)

    @property
    def left_right(self) -> int:
        """The axis of (z, y, x) that is closest to the patient's left-right: x in the file's space (LPS)."""
        along = [abs(cosine) for cosine in self.direction[: self.dimensions]]  # the x component of the axes x, y[, z]
        return 2 - along.index(max(along))

    @property
    def orientation(self) -> str | None:
        """Where x, y and z of the array point to in the patient, as far as they can, ``LPS`` for example; None: 2-D."""
        return None if self.dimensions == 2 else "".join(PATIENT_AXES[axis][back] for axis, back in self._along())

    def _along(self) -> list[tuple[int, bool]]:
        """For x, y and z of the array, the patient's axis that each goes along most, and whether backwards: x chooses
        first."""
        left, found = [0, 1, 2], []
        for axis in range(3):
            cosines = self.direction[axis::3]  # rows of the matrix are the patient's axes, columns x, y, z
            patient = max(left, key=lambda row: abs(cosines[row]))
            left.remove(patient)
            found.append((patient, not cosines[patient] > 0))
        return found

    def towards(self, orientation: str) -> tuple[tuple[int, int, int], tuple[int, ...]]:
        """How to turn an array (z, y, x) so that x, y and z point where the letters say, ``RAS`` for example.

        Returns the order of its axes, and those (of the new ones) to be reversed. Each axis goes where it points most:
        x chooses first. A 2-D image stays as it is.
        """
        if self.dimensions == 2:
            return (0, 1, 2), ()
        source = {patient: (axis, back) for axis, (patient, back) in enumerate(self._along())}
        order, reversed_axes = [], []
        for new, letter in enumerate(reversed(orientation)):
            patient = PATIENT_AXES.index(next(pair for pair in PATIENT_AXES if letter in pair))
            axis, back = source[patient]
            order.append(2 - axis)
            if back != (letter == PATIENT_AXES[patient][1]):
                reversed_axes.append(new)
        return (order[0], order[1], order[2]), tuple(reversed_axes)

    @classmethod
    def plain(cls, shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> Geometry:
        """A 3-D geometry at the origin with identity direction."""
        return cls(shape, spacing, (0.0,) * 3, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))

    @classmethod
    def plain_2d(cls, shape: tuple[int, int], spacing: tuple[float, float] = (1.0, 1.0)) -> Geometry:
        """A 2-D geometry (one slice) at the origin with identity direction; arguments are (y, x)."""
        depth = SLICE_SPACING_2D * max(spacing)
        return cls((1, *shape), (depth, *spacing), (0.0,) * 2, (1.0, 0.0, 0.0, 1.0))


@dataclass(frozen=True)
class Image:
    """One case's channels on one grid."""

    array: np.ndarray
    """float32, (channels, z, y, x)."""
    geometry: Geometry
    absent: tuple[int, ...] = ()
    """Channels that are not there, counted from 0; their voxels are 0."""

    def without(self, channels: Collection[int]) -> Image:
        """The same image as if these channels were not there either; the grid stays, whichever of them it came from."""
        if not channels:
            return self
        absent = tuple(sorted({*self.absent, *channels}))
        array = self.array.copy()
        array[[*absent]] = 0
        return replace(self, array=array, absent=absent)


@dataclass(frozen=True)
class Box:
    """A block of voxels: ``start`` inclusive, ``stop`` exclusive, along (z, y, x)."""

    start: tuple[int, int, int]
    stop: tuple[int, int, int]

    @property
    def shape(self) -> tuple[int, int, int]:
        a, b = self.start, self.stop
        return (b[0] - a[0], b[1] - a[1], b[2] - a[2])

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        a, b = self.start, self.stop
        return (slice(a[0], b[0]), slice(a[1], b[1]), slice(a[2], b[2]))

    @classmethod
    def whole(cls, shape: tuple[int, int, int]) -> Box:
        return cls((0, 0, 0), shape)


def nonzero_box(array: np.ndarray) -> Box:
    """The smallest box that holds every voxel that is nonzero in any channel of ``(channels, z, y, x)``.

    An image without any nonzero voxel is kept whole.
    """
    found = bounding_slices((array != 0).any(axis=0))
    if found is None:
        return Box.whole(array.shape[1:])
    (z0, z1), (y0, y1), (x0, x1) = ((along.start, along.stop) for along in found)
    return Box((z0, y0, x0), (z1, y1, x1))


def bounding_slices(mask: np.ndarray) -> tuple[slice, ...] | None:
    """The smallest box that holds every voxel of a bool array, of any number of axes; None for an empty one."""
    found = []
    for axis in range(mask.ndim):
        hits = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        if not hits.size:
            return None
        found.append(slice(int(hits[0]), int(hits[-1]) + 1))
    return tuple(found)


def box_around(boxes: Sequence[tuple[slice, ...]]) -> tuple[slice, ...]:
    """The smallest box that holds all of these; there must be one."""
    return tuple(slice(min(each.start for each in along), max(each.stop for each in along)) for along in zip(*boxes))
