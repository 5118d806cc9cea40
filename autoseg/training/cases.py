"""Prepared cases as training reads them: a box at a time, from disk or from memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Protocol

import numpy as np

from ..core.geometry import Box
from ..core.machine import memory_bytes
from ..preprocessing.locations import Locations

CACHE_SHARE = 0.25  # of the main memory, for whole cases that are kept after their first use


class ReadableCase(Protocol):
    """A prepared case, on disk or in memory."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along (z, y, x)."""

    @property
    def channels(self) -> int: ...

    @property
    def absent(self) -> tuple[int, ...]:
        """Channels that it lacks, counted from 0: they are 0 everywhere."""

    @property
    def foreground(self) -> Locations:
        """Where its labels are."""

    def read(self, box: Box) -> tuple[np.ndarray, ...]:
        """Inside ``box``: image (channels, z, y, x), label indices (z, y, x), every further input (read, z, y, x)."""


def read_padded(case: ReadableCase, start: np.ndarray, shape: np.ndarray) -> tuple[np.ndarray, ...]:
    """The block of ``shape`` from ``start`` (z, y, x), which may reach beyond the image: 0 and background there."""
    inner_start = np.clip(start, 0, case.shape)
    inner_stop = np.clip(start + shape, inner_start, case.shape)
    arrays = case.read(Box(_triple(inner_start), _triple(inner_stop)))
    if arrays[0].shape[1:] == tuple(shape):
        return arrays
    inside = (..., *Box(_triple(inner_start - start), _triple(inner_stop - start)).slices)
    padded = tuple(np.zeros((*array.shape[:-3], *shape), array.dtype) for array in arrays)
    for block, array in zip(padded, arrays):
        block[inside] = array
    return padded


def read_slices(case: ReadableCase, start: np.ndarray, shape: np.ndarray, slices: int) -> tuple[np.ndarray, ...]:
    """Slice ``start[0]``, which must exist, with its neighbours as channels (channels * slices, y, x).

    Then its labels (y, x) and further inputs (read, y, x).

    Beyond the first and the last slice these come again.
    """
    middle, reach = int(start[0]), slices // 2
    wanted = np.clip(np.arange(middle - reach, middle + reach + 1), 0, case.shape[0] - 1)
    first, depth = wanted[0], wanted[-1] - wanted[0] + 1
    image, *maps = read_padded(case, np.array([first, *start[1:]]), np.array([depth, *shape[1:]]))
    neighbours = image[:, wanted - first].reshape(-1, *image.shape[2:])
    return (neighbours, *(array[..., middle - first, :, :] for array in maps))


def _triple(vector: np.ndarray) -> tuple[int, int, int]:
    z, y, x = vector.tolist()
    return (z, y, x)


@dataclass(frozen=True)
class CaseInMemory:
    """A whole case as arrays, shaped as ``ReadableCase.read`` gives them."""

    image: np.ndarray
    labels: np.ndarray
    foreground: Locations
    extras: tuple[np.ndarray, ...] = ()
    absent: tuple[int, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        z, y, x = self.labels.shape
        return (z, y, x)

    @property
    def channels(self) -> int:
        return len(self.image)

    def read(self, box: Box) -> tuple[np.ndarray, ...]:
        inside = (..., *box.slices)
        return tuple(array[inside] for array in (self.image, self.labels, *self.extras))


class CaseCache(Mapping[str, ReadableCase]):
    """Keeps whole cases in memory, from their first use on, until ``budget`` bytes are full; the rest stay on disk."""

    def __init__(self, cases: Mapping[str, ReadableCase], budget: int | None = None) -> None:
        self._cases = cases
        self._room = int(CACHE_SHARE * memory_bytes()) if budget is None else budget
        self._kept: dict[str, ReadableCase] = {}
        self._reading: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def __getitem__(self, key: str) -> ReadableCase:
        with self._lock:
            reading = self._reading.setdefault(key, threading.Lock())
        with reading:  # other cases are read meanwhile
            if key not in self._kept:
                self._kept[key] = self._load(self._cases[key])
            return self._kept[key]

    def _load(self, case: ReadableCase) -> ReadableCase:
        estimate = prod(case.shape) * (2 * case.channels + 2)  # float16 and at most 16-bit labels
        if not self._take(estimate):
            return case
        image, labels, *extras = case.read(Box.whole(case.shape))
        found = case.foreground
        kept = CaseInMemory(image, labels, replace(found, voxels=np.array(found.voxels)), tuple(extras), case.absent)
        arrays = (image, labels, *extras, kept.foreground.voxels)
        more = sum(array.nbytes for array in arrays) - estimate
        if self._take(more):
            return kept
        self._take(-estimate)
        return case

    def _take(self, size: int) -> bool:
        """Whether ``size`` bytes more fit; then they are taken."""
        with self._lock:
            if size > self._room:
                return False
            self._room -= size
            return True

    def __iter__(self) -> Iterator[str]:
        return iter(self._cases)

    def __len__(self) -> int:
        return len(self._cases)
