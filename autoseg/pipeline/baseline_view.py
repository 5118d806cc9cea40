"""A case as a classical method sees it: turned as all others, its intensities scaled, no larger than it takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.evidence import Evidence, Hints, LabelledImage, scaled
from ..core.geometry import Geometry, Image
from ..core.labels import Labels

ORIENTATION = "RAS"
HOUNSFIELD = ("ct",)  # names of channels in HU


@dataclass(frozen=True)
class View:
    """One case. Its grid has two axes where the image is one slice."""

    image: np.ndarray
    """Scaled intensities (channels, *grid) of the channels that are looked at."""
    spacing: tuple[float, ...]
    absent: tuple[int, ...]
    """Of these channels, those that the case lacks."""
    geometry: Geometry

    @classmethod
    def of(cls, image: Image, channels: Sequence[int], names: Sequence[str]) -> View:
        """``channels`` are counted from 0; ``names`` are those of all channels of the dataset."""
        known = np.nan_to_num(image.array[list(channels)], posinf=0.0, neginf=0.0)
        arrays = [scaled(array, names[channel].casefold() in HOUNSFIELD) for array, channel in zip(known, channels)]
        order, _ = image.geometry.towards(ORIENTATION)
        spacing = tuple(image.geometry.spacing[axis] for axis in order)
        absent = tuple(place for place, channel in enumerate(channels) if channel in image.absent)
        turned = np.stack([_turned(array, image.geometry) for array in arrays])
        flat = image.geometry.dimensions == 2
        return cls(turned, spacing[1:] if flat else spacing, absent, image.geometry)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.image.shape[1:]

    def turned(self, label_map: np.ndarray) -> np.ndarray:
        """A map (z, y, x) of the file on this grid."""
        return _turned(label_map, self.geometry)

    def back(self, label_map: np.ndarray) -> np.ndarray:
        """A map on this grid as the file has it, (z, y, x)."""
        order, reversed_axes = self.geometry.towards(ORIENTATION)
        whole = label_map[None] if self.geometry.dimensions == 2 else label_map
        return np.ascontiguousarray(np.transpose(np.flip(whole, reversed_axes), np.argsort(order)))

    def given_to(self, method: Any, telling: Sequence[int], image: np.ndarray) -> np.ndarray:
        """The channels of ``image`` that the method is given; ``telling`` lists them, the one first that says most."""
        if not method.one_channel:
            return image
        there = [channel for channel in telling if channel not in self.absent]
        return image[there[:1] or list(telling[:1])]


@dataclass(frozen=True)
class Window:
    """The part of a view that a method takes, on a grid that may be coarser."""

    image: np.ndarray
    spacing: tuple[float, ...]
    box: tuple[slice, ...]
    factors: tuple[int, ...]
    hints: Hints | None

    @classmethod
    def of(cls, view: View, method: Any, evidence: Evidence, telling: Sequence[int]) -> Window:
        if method.largest is None:
            everything = tuple(slice(0, size) for size in view.shape)
            factors = (1,) * len(everything)
            return cls(view.given_to(method, telling, view.image), view.spacing, everything, factors, None)
        box = evidence.box(view.shape)
        part = view.image[(slice(None),) + box]
        factors = coarsening(part.shape[1:], view.spacing, method.largest // len(evidence.indices))
        coarse = np.stack([block_means(channel, factors) for channel in part])
        spacing = tuple(edge * factor for edge, factor in zip(view.spacing, factors))
        covered = [
            slice(along.start, along.start + size * factor)
            for along, size, factor in zip(box, coarse.shape[1:], factors)
        ]
        hints = evidence.hints(coarse, spacing, view.absent, covered, view.shape)
        return cls(view.given_to(method, telling, coarse), spacing, box, factors, hints)

    def labelled(self, numbers: np.ndarray, labels: int) -> LabelledImage:
        """With the truth, numbers of labels on the whole grid of the view."""
        part = numbers[self.box]
        for axis, factor in enumerate(self.factors):
            part = np.take(
                part, range(factor // 2 if part.shape[axis] > factor // 2 else 0, part.shape[axis], factor), axis
            )
        cut = tuple(slice(0, size) for size in self.image.shape[1:])
        widths = [(0, size - have) for size, have in zip(self.image.shape[1:], part[cut].shape)]
        return LabelledImage(self.image, self.spacing, np.pad(part[cut], widths, mode="edge"), labels, self.hints)

    def enlarged(self, numbers: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """On the whole grid of the view; background outside of the box."""
        for axis, factor in enumerate(self.factors):
            numbers = np.repeat(numbers, factor, axis) if factor > 1 else numbers
        whole = np.zeros(shape, numbers.dtype)
        inside = whole[self.box]
        inside[...] = numbers[tuple(slice(0, size) for size in inside.shape)]
        return whole


def segmented(view: View, method: Any, evidence: Evidence, telling: Sequence[int]) -> np.ndarray:
    """Label indices (z, y, x), as the file has them."""
    window = Window.of(view, method, evidence, telling)
    numbers = window.enlarged(method.segment(window.image, window.spacing, window.hints), view.shape)
    return view.back(_smallest(evidence.indices)[numbers])


def values_of(labels: Labels) -> np.ndarray:
    """The user's value of each label index."""
    return _smallest(labels.values)


def coarsening(shape: Sequence[int], spacing: Sequence[float], most: int) -> tuple[int, ...]:
    """Factors by which axes become coarser, so that no more than ``most`` voxels are left: the finest axis first."""
    factors = [1] * len(shape)

    def left(axis: int) -> int:
        return -(-shape[axis] // factors[axis])

    while math.prod(map(left, range(len(shape)))) > most and max(map(left, range(len(shape)))) > 1:
        long = [axis for axis in range(len(shape)) if left(axis) > 1]
        factors[min(long, key=lambda axis: spacing[axis] * factors[axis])] += 1
    return tuple(factors)


def block_means(array: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    """Means of blocks of so many voxels along each axis; the last ones are filled up with the voxel at the edge."""
    if all(factor == 1 for factor in factors):
        return array
    widths = [(0, -size % factor) for size, factor in zip(array.shape, factors)]
    padded = np.pad(array, widths, mode="edge")
    split = [length for size, factor in zip(padded.shape, factors) for length in (size // factor, factor)]
    means: np.ndarray = padded.reshape(split).mean(axis=tuple(range(1, 2 * len(factors), 2)), dtype=np.float32)
    return means


def _smallest(numbers: Sequence[int]) -> np.ndarray:
    """In the smallest type that holds them: maps of whole volumes are made of it."""
    return np.array(numbers, np.result_type(*(np.min_scalar_type(number) for number in (min(numbers), max(numbers)))))


def _turned(array: np.ndarray, geometry: Geometry) -> np.ndarray:
    order, reversed_axes = geometry.towards(ORIENTATION)
    turned = np.ascontiguousarray(np.flip(np.transpose(array, order), reversed_axes))
    return turned[0] if geometry.dimensions == 2 else turned
