"""What a file says about its grid, and when two grids are the same.

Files of one case are paired voxel by voxel, so what matters is how far two headers place the same voxel apart,
measured in voxels and never in millimetres.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from ...core.geometry import Geometry

LOG = logging.getLogger("autoseg")

NOISE = 1e-3
"""Voxels. Headers that place every voxel of the image within this distance differ by float rounding only."""
ROUNDING = 1e-2
"""A relative difference of spacing, a shift of the origin in voxels, or a difference of direction cosines below this
comes from a header written with few digits: the grids are meant to be the same."""

_TO_LPS = np.array([-1.0, -1.0, 1.0])  # NIfTI's x and y point the other way than ITK's

FLAT = 1e-3
"""A volume spanned by direction cosines below this is none."""


@dataclass(frozen=True)
class Header:
    """What is known of a file without reading its voxels."""

    geometry: Geometry
    channels: int
    note: str = ""
    """What the file states of its grid and is not used, in words."""


@dataclass(frozen=True)
class Difference:
    """One way in which a grid departs from the one it should equal."""

    what: str
    """A sentence with both values."""
    rounding: bool
    """Whether it is small enough to be a rounded header and not another grid."""


def differences(expected: Geometry, found: Geometry) -> list[Difference]:
    """All ways in which ``found`` departs from ``expected`` beyond float noise; an empty list means the same grid."""
    if expected.shape != found.shape:
        return [Difference(f"shape {_numbers(found.shape)}, expected {_numbers(expected.shape)}", rounding=False)]
    if expected.dimensions != found.dimensions:
        return [Difference(f"{found.dimensions}-D, expected {expected.dimensions}-D", rounding=False)]
    return [
        Difference(f"{name} {_numbers(b)}, expected {_numbers(a)}", rounding=entries < ROUNDING)
        for name, a, b, entries, farthest in _departures(expected, found)
        if farthest >= NOISE
    ]


def resampling(nearest: bool) -> str:
    """How a file is brought onto the grid of an image, by a library that is installed with this package: its images."""
    if nearest:
        return "in Python: SimpleITK.Resample(label_map, image, SimpleITK.Transform(), SimpleITK.sitkNearestNeighbor)"
    return "in Python: SimpleITK.Resample(other_image, image)"


def orthonormal(direction: np.ndarray, where: str) -> np.ndarray:
    """The rotation nearest to ``direction`` (n, n), unchanged when it is orthonormal already (to 1e-4, as in ITK)."""
    if np.abs(direction.T @ direction - np.eye(len(direction))).max() < 1e-4:
        return direction
    if not abs(np.linalg.det(direction)) > FLAT:
        raise ValueError("its axes do not span space")
    LOG.warning("%s: the direction cosines are not orthonormal (sheared axes); the nearest rotation is used", where)
    left, _, right = np.linalg.svd(direction)
    rotation: np.ndarray = left @ right
    return rotation


def in_lps(axes: np.ndarray, origin: np.ndarray, where: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Origin and direction cosines of a ``Geometry`` whose unit ``axes`` (n, n) and ``origin`` (n) are NIfTI's."""
    turn = _TO_LPS[: len(axes)]
    direction = orthonormal(axes * turn[:, None], where) + 0.0  # + 0.0: no negative zeros
    return tuple((origin * turn + 0.0).tolist()), tuple(direction.ravel().tolist())


def unlike(expected: Geometry, found: Geometry) -> list[str]:
    """In words, all that makes ``found`` another grid than ``expected``: ``differences`` that are no rounding."""
    return [difference.what for difference in differences(expected, found) if not difference.rounding]


def _departures(
    expected: Geometry, found: Geometry
) -> list[tuple[str, tuple[float, ...], tuple[float, ...], float, float]]:
    """Per quantity: name, both values, largest departure of an entry, largest displacement of any voxel in voxels."""
    n = expected.dimensions
    spacing = np.array(expected.spacing[::-1][:n])
    last = np.array(expected.shape[::-1][:n]) - 1
    stretch = np.abs(np.array(found.spacing[::-1][:n]) - spacing) / spacing

    direction = np.array(expected.direction).reshape(n, n)
    shift = np.abs(direction.T @ (np.array(found.origin) - np.array(expected.origin))) / spacing

    turn = np.array(found.direction).reshape(n, n) - direction
    displaced = np.abs(direction.T @ turn) @ (last * spacing) / spacing
    return [
        ("spacing", expected.spacing, found.spacing, stretch.max(), (stretch * last).max()),
        ("origin", expected.origin, found.origin, shift.max(), shift.max()),
        ("direction", expected.direction, found.direction, np.abs(turn).max(), displaced.max()),
    ]


def _numbers(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{value:.6g}" for value in values) + ")"
