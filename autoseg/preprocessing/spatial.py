"""The way from a file's grid to the network's and back: steps that know their own undo, recorded with each case.

Steps act on the last three axes of an array, whatever stands before them: channels, heads or nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Union

import numpy as np

from ..core.geometry import Box, Geometry
from ..errors import DatasetError
from ..task import Task

MOST_VOXELS = 2**31  # along an axis: compressed arrays count them so
Shape = tuple[int, int, int]
Spacing = tuple[float, float, float]
Method = Callable[[np.ndarray, Shape, Sequence[float], Sequence[float]], np.ndarray]
"""Resamples an array to a shape, given old and new spacing: ``resample_image``, say, of a resampler."""


def not_resampled(array: np.ndarray, shape: Shape, old: Sequence[float], new: Sequence[float]) -> np.ndarray:
    """The ``Method`` for steps that do not resample."""
    raise AssertionError("a resampling step among those before it")


@dataclass(frozen=True)
class Transpose:
    """Brings the coarsest axis to the front and, where the plan has an orientation, reverses axes."""

    KIND: ClassVar[str] = "transpose"

    order: tuple[int, int, int]
    """New axis i is old axis ``order[i]``."""
    reversed: tuple[int, ...] = ()
    """New axes that run the other way."""

    def apply(self, array: np.ndarray, method: Method) -> np.ndarray:
        return self._reversed(_permuted(array, self.order))

    def undo(self, array: np.ndarray, method: Method, fill: float = 0) -> np.ndarray:
        return _permuted(self._reversed(array), tuple(self.order.index(axis) for axis in range(3)))

    def _reversed(self, array: np.ndarray) -> np.ndarray:
        return np.flip(array, tuple(axis - 3 for axis in self.reversed)) if self.reversed else array


@dataclass(frozen=True)
class Crop:
    """Keeps the box around everything that is not zero."""

    KIND: ClassVar[str] = "crop"

    box: Box
    shape: Shape
    """Before the crop."""

    def apply(self, array: np.ndarray, method: Method) -> np.ndarray:
        return array[self._inside]

    def undo(self, array: np.ndarray, method: Method, fill: float = 0) -> np.ndarray:
        if self.box == Box.whole(self.shape):
            return array
        whole = np.full((*array.shape[:-3], *self.shape), fill, array.dtype)
        whole[self._inside] = array
        return whole

    @property
    def _inside(self) -> tuple[Any, ...]:
        return (..., *self.box.slices)


@dataclass(frozen=True)
class Resample:
    """Changes the spacing; the corners of the volume stay where they are."""

    KIND: ClassVar[str] = "resample"

    shape: Shape
    """Before, voxels."""
    spacing: Spacing
    """Before, mm."""
    new_shape: Shape
    new_spacing: Spacing

    def apply(self, array: np.ndarray, method: Method) -> np.ndarray:
        return method(array, self.new_shape, self.spacing, self.new_spacing)

    def undo(self, array: np.ndarray, method: Method, fill: float = 0) -> np.ndarray:
        return method(array, self.shape, self.new_spacing, self.spacing)


SpatialStep = Union[Transpose, Crop, Resample]


@dataclass(frozen=True)
class SpatialRecord:
    """The steps one case went through, first to last; JSON keeps it beside the prepared arrays."""

    steps: tuple[SpatialStep, ...]

    def apply(self, array: np.ndarray, method: Method) -> np.ndarray:
        """From the file's grid to the network's."""
        for step in self.steps:
            array = step.apply(array, method)
        return array

    def undo(self, array: np.ndarray, method: Method, fill: float = 0) -> np.ndarray:
        """From the network's grid to the file's; voxels that were cropped away become ``fill``."""
        for step in reversed(self.steps):
            array = step.undo(array, method, fill)
        return array

    def points(self, points: np.ndarray) -> np.ndarray:
        """Places (n, 3) in voxels (z, y, x) of the file as places on the network's grid; voxel centres are whole."""
        turn, crop, resample = self.steps
        assert isinstance(turn, Transpose) and isinstance(crop, Crop) and isinstance(resample, Resample)
        places = np.asarray(points, float).reshape(-1, 3)[:, turn.order]
        for axis in turn.reversed:
            places[:, axis] = crop.shape[axis] - 1 - places[:, axis]
        scale = np.array(resample.new_shape) / np.array(resample.shape)
        found: np.ndarray = (places - np.array(crop.box.start) + 0.5) * scale - 0.5
        return found

    def split(self) -> tuple[SpatialRecord, Resample]:
        """The steps before resampling, and the resampling: export undoes the latter slab by slab, then the former."""
        *before, last = self.steps
        assert isinstance(last, Resample), "prepare() always resamples last"
        return SpatialRecord(tuple(before)), last


def transpose(task: Task, geometry: Geometry) -> Transpose:
    """From the axes of a file to those of the networks."""
    if task.orientation is None:
        return Transpose(task.axis_order)
    towards, reversed_axes = geometry.towards(task.orientation)
    first, second, third = (towards[axis] for axis in task.axis_order)
    turned = tuple(new for new, axis in enumerate(task.axis_order) if axis in reversed_axes)
    return Transpose((first, second, third), turned)


def spatial_record(
    shape: Shape,
    spacing: Spacing,
    order: tuple[int, int, int],
    box: Box,
    target: Sequence[float | None],
    reversed_axes: tuple[int, ...] = (),
) -> SpatialRecord:
    """The steps for one image.

    ``shape`` and ``spacing`` are the file's; ``box`` is in the transposed grid, as are ``reversed_axes``; ``target`` is
    the network's spacing in mm, where None keeps the image's own.
    """
    turned_shape = (shape[order[0]], shape[order[1]], shape[order[2]])
    turned_spacing = (spacing[order[0]], spacing[order[1]], spacing[order[2]])
    z, y, x = (old if new is None else new for old, new in zip(turned_spacing, target))
    new_shape = resampled_shape(box.shape, turned_spacing, (z, y, x))
    return SpatialRecord(
        (
            Transpose(order, reversed_axes),
            Crop(box, turned_shape),
            Resample(box.shape, turned_spacing, new_shape, (z, y, x)),
        )
    )


def resampled_shape(shape: Shape, spacing: Spacing, new_spacing: Spacing) -> Shape:
    """Voxels at the new spacing: the physical extent kept, rounded half to even (as nnU-Net v2), at least one.

    Raises DatasetError for spacings that are no lengths, and for more voxels along an axis than can be counted.
    """
    if not all(0 < edge < math.inf for edge in (*spacing, *new_spacing)):
        raise DatasetError(f"voxels of {numbers(spacing)} mm cannot become voxels of {numbers(new_spacing)} mm")
    edges = [old / new * size for old, new, size in zip(spacing, new_spacing, shape)]
    if not max(edges) < MOST_VOXELS:
        raise DatasetError(
            f"{numbers(shape)} voxels of {numbers(spacing)} mm would become {numbers(edges)} of {numbers(new_spacing)} "
            "mm, more than can be counted. Correct the spacing in the file if it is not that in mm"
        )
    z, y, x = (max(1, round(edge)) for edge in edges)
    return z, y, x


def numbers(values: Sequence[float]) -> str:
    """Along z, y and x, for messages."""
    return " x ".join(f"{value:.4g}" if isinstance(value, float) else str(value) for value in values)


def _permuted(array: np.ndarray, order: Sequence[int]) -> np.ndarray:
    leading = array.ndim - 3
    return array.transpose(*range(leading), *(leading + axis for axis in order))
