"""A phantom that two modalities see differently, and how to move one of them or to lay its array otherwise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from autoseg.core.geometry import Geometry
from autoseg.parts.readers.simpleitk import place

SPACING = (4.0, 3.0, 3.5)  # z, y, x
SHAPE = (34, 48, 42)
OBLIQUE = tuple(sitk.Euler3DTransform((0, 0, 0), 0.1, -0.05, 0.2).GetMatrix())
GRID = Geometry(SHAPE, SPACING, (-60.0, -70.0, 20.0), OBLIQUE)
PARTS = [  # centre and half axes as shares of the field of view along z, y and x, value in the one and the other
    ((0.5, 0.5, 0.5), (0.36, 0.36, 0.34), 100.0, 60.0),
    ((0.45, 0.4, 0.42), (0.12, 0.1, 0.08), 30.0, 110.0),
    ((0.5, 0.42, 0.6), (0.13, 0.11, 0.07), 35.0, 105.0),
    ((0.62, 0.62, 0.5), (0.08, 0.06, 0.13), 150.0, 30.0),
    ((0.36, 0.6, 0.6), (0.06, 0.09, 0.05), 10.0, 140.0),
]


def phantom(seed: int = 0, noise: float = 3.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two channels (z, y, x) float32 on ``GRID`` and a label map of its two ventricles."""
    axes = np.meshgrid(*[(np.arange(size) + 0.5) / size for size in SHAPE], indexing="ij")
    first, second, labels = np.zeros(SHAPE), np.zeros(SHAPE), np.zeros(SHAPE, np.uint8)
    for number, (centre, half, one, other) in enumerate(PARTS):
        inside = sum(((axis - c) / h) ** 2 for axis, c, h in zip(axes, centre, half)) < 1
        first[inside], second[inside] = one, other
        if number in (1, 2):
            labels[inside] = number
    generator = np.random.default_rng(seed)
    body = first > 0
    first += body * generator.normal(0, noise, SHAPE)
    second += body * generator.normal(0, noise, SHAPE)
    return first.clip(0).astype(np.float32), second.clip(0).astype(np.float32), labels


def rigid(turn: tuple[float, float, float], shift: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """``matrix`` and ``offset`` of a turn, radians, about the middle of ``GRID``, and a shift in mm."""
    transform = sitk.Euler3DTransform(middle(GRID).tolist(), *turn, shift)
    matrix = np.array(transform.GetMatrix()).reshape(3, 3)
    return matrix, np.array(transform.TransformPoint((0.0, 0.0, 0.0)))


def middle(geometry: Geometry) -> np.ndarray:
    direction = np.array(geometry.direction).reshape(3, 3)
    steps = np.array(geometry.spacing[::-1]) * (np.array(geometry.shape[::-1]) - 1) / 2
    return np.array(geometry.origin) + direction @ steps


def moved(geometry: Geometry, matrix: np.ndarray, offset: np.ndarray) -> Geometry:
    """Where each voxel is carried along by a rigid transform: no voxel changes, but its place does."""
    direction = matrix @ np.array(geometry.direction).reshape(3, 3)
    origin = matrix @ np.array(geometry.origin) + offset
    return Geometry(geometry.shape, geometry.spacing, tuple(origin.tolist()), tuple(direction.ravel().tolist()))


def laid(
    array: np.ndarray, geometry: Geometry, order: tuple[int, ...], reversed_axes: tuple[int, ...]
) -> tuple[np.ndarray, Geometry]:
    """The same voxels at the same places, in an array whose axes (z, y, x) come in another order or run back."""
    direction = np.array(geometry.direction).reshape(3, 3)[:, ::-1]  # columns z, y, x
    spacing = np.array(geometry.spacing)
    origin = np.array(geometry.origin)
    turned = array.transpose(order)
    direction, spacing = direction[:, order], spacing[list(order)]
    for axis in reversed_axes:
        origin = origin + direction[:, axis] * spacing[axis] * (turned.shape[axis] - 1)
        direction = direction * np.where(np.arange(3) == axis, -1, 1)
    found = np.ascontiguousarray(np.flip(turned, reversed_axes))
    columns = direction[:, ::-1]
    return found, Geometry(
        found.shape, tuple(spacing.tolist()), tuple(origin.tolist()), tuple(columns.ravel().tolist())
    )


def save(array: np.ndarray, geometry: Geometry, path: Path) -> Path:
    image = sitk.GetImageFromArray(array)
    place(image, geometry)
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))
    return path
