"""Grids in one space: which channel is the reference, how much of it another one covers, voxels from grid to grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np

from ..core.geometry import Geometry
from ..parts.readers import Header, unlike
from ..parts.readers.simpleitk import place
from .record import Alignment, Registration

LOOKED_AT = 17  # voxels along each axis by which the overlap of two fields of view is told
ALIKE = 1e-3  # of a voxel: rounding in headers makes no grid a coarser one
COPIES = 3  # of a channel in float32, while it is brought to another grid or registered


def reference_channel(cases: Sequence[tuple[Mapping[int, Geometry], Geometry | None]], channels: int) -> int:
    """The channel on whose grid the label maps of the most cases lie; of several the finest, and then the first.

    Each case has grids by number of channel and that of its label map, if there is any.
    """

    def rank(number: int) -> tuple[int, float, int]:
        there = [(grids[number], label) for grids, label in cases if number in grids]
        fitting = sum(label is not None and not unlike(grid, label) for grid, label in there)
        volume = float(np.median([prod(grid.spacing) for grid, _ in there])) if there else np.inf
        return -fitting, float(f"{volume:.3g}"), number  # rounding in headers makes no channel a finer one

    return min(range(channels), key=rank)


def covered(reference: Geometry, other: Geometry) -> float:
    """Share of the field of view of ``reference`` in which ``other`` has voxels, 0 to 1; both are volumes."""
    along = [np.unique(np.linspace(0, size - 1, LOOKED_AT).round()) for size in reference.shape]
    indices = np.stack(np.meshgrid(*along, indexing="ij"), -1).reshape(-1, 3)
    return float(inside(indices_of(other, places_of(reference, indices)), other.shape).mean())


def inside(indices: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Which of ``indices`` (n, 3) lie in voxels: bool (n)."""
    beyond = (indices < -0.5 - 1e-6) | (indices > np.array(shape) - 0.5 + 1e-6)
    return np.logical_not(beyond.any(axis=1))


def places_of(geometry: Geometry, indices: np.ndarray) -> np.ndarray:
    """Places (n, 3) in mm, x y z, of voxel indices (n, 3), z y x, that need not be whole."""
    origin, axes = _space(geometry)
    places: np.ndarray = origin + indices[:, ::-1] @ axes.T
    return places


def indices_of(geometry: Geometry, places: np.ndarray) -> np.ndarray:
    """The other way: voxel indices (n, 3), z y x, of places (n, 3) in mm, x y z."""
    origin, axes = _space(geometry)
    indices: np.ndarray = ((places - origin) @ np.linalg.inv(axes).T)[:, ::-1]
    return indices


def _space(geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """Origin, and (3, 3) with the steps in mm from voxel to voxel along x, y and z as columns."""
    direction = np.array(geometry.direction).reshape(3, 3)
    return np.array(geometry.origin), direction * np.array(geometry.spacing[::-1])


def resampled(
    channel: np.ndarray, geometry: Geometry, target: Geometry, registration: Registration | None = None
) -> np.ndarray:
    """``channel`` (z, y, x) on the grid ``target``, float32.

    Linear interpolation: it makes no value that lies outside of those around it, so that a background of 0 stays 0 and
    no bright border gets a dark one beside it. The spline of the plan's resampler comes later, once for all channels.
    Where the channel has no voxels, it gets its smallest value, which is what air and masked voxels have.

    Along axes on which ``target`` is coarser, the channel is smoothed first, lest what is finer than its voxels shows
    up as what it is not. What is 0 without smoothing stays 0, since masks are told by it.
    """
    sharp = _resampled(channel, geometry, target, registration)
    sigma = smoothing(geometry, target, registration)
    if not sigma.any():
        return sharp
    from scipy.ndimage import gaussian_filter

    zero = sharp == 0
    del sharp
    smooth = gaussian_filter(np.asarray(channel, np.float32), sigma, mode="mirror")
    found = _resampled(smooth, geometry, target, registration, fill=float(channel.min()))
    found[zero] = 0
    return found


def smoothing(geometry: Geometry, target: Geometry, registration: Registration | None = None) -> np.ndarray:
    """Standard deviations (z, y, x) in voxels of ``geometry`` of the Gaussian that comes before ``target``.

    (factor - 1) / 2 where voxels become larger by a factor, as scikit-image's ``resize`` has it (0.25, anti_aliasing).
    The factor along an axis is how far a step of ``target`` along each of its own leads on it, all together.
    """
    _, axes = _space(target)
    moved = axes if registration is None else np.array(registration.matrix).reshape(3, 3) @ axes
    steps = np.linalg.inv(_space(geometry)[1]) @ moved
    factors = np.linalg.norm(steps, axis=1)[::-1]
    return np.where(factors > 1 + ALIKE, (factors - 1) / 2, 0.0)


def _resampled(
    channel: np.ndarray,
    geometry: Geometry,
    target: Geometry,
    registration: Registration | None,
    fill: float | None = None,
) -> np.ndarray:
    """By linear interpolation; ``fill`` None: the smallest value of the channel."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(channel, np.float32))
    place(image, geometry)
    transform = sitk.AffineTransform(3)
    if registration is not None:
        transform.SetMatrix(registration.matrix)
        transform.SetTranslation(registration.offset)
    size, spacing = target.shape[::-1], target.spacing[::-1]
    fill = float(channel.min()) if fill is None else fill
    on_target = sitk.Resample(
        image, size, transform, sitk.sitkLinear, target.origin, spacing, target.direction, fill, sitk.sitkFloat32
    )
    found: np.ndarray = sitk.GetArrayFromImage(on_target)
    return found


def bytes_beside(reference: Header, others: Sequence[Header], alignment: Alignment) -> int:
    """Of main memory that is taken, beside all channels on the reference's grid, while they are brought onto it.

    A file is read whole before its channels are, one after the other.
    """
    pairs = [(prod(other.geometry.shape), other) for other in others]
    apart = [
        4 * voxels * (other.channels + COPIES)
        for voxels, other in pairs
        if alignment.registers or unlike(reference.geometry, other.geometry)
    ]
    registering = 4 * COPIES * prod(reference.geometry.shape) if alignment.registers else 0
    return max(apart, default=0) + registering
