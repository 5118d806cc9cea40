"""Patches from prepared cases. Batch number i is the same whenever, wherever and by whichever thread it is made."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from math import prod
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ..core.geometry import Box
from ..core.machine import memory_bytes
from ..core.parallel import ordered_map
from ..core.seeds import generator
from ..plan import Configuration, Plan

CACHE_SHARE = 0.25  # of the main memory, for whole cases that are kept after their first use


class ReadableCase(Protocol):
    """A prepared case, on disk or in memory."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along (z, y, x)."""

    @property
    def channels(self) -> int: ...

    @property
    def foreground(self) -> Mapping[int, np.ndarray]:
        """Label index to a sample of its voxels, (n, 3)."""

    def read(self, box: Box) -> tuple[np.ndarray, np.ndarray]:
        """Image (channels, z, y, x) and label indices (z, y, x) inside ``box``.

        Or two label maps, (2, z, y, x): what is to be learned, and what an earlier stage predicted.
        """


@dataclass(frozen=True)
class Batch:
    """Patches as they were read, before augmentation."""

    images: Tensor
    """(B, channels, *loaded), float16 or float32 as stored."""
    targets: Tensor
    """(B, *loaded) label indices, as stored."""
    keys: tuple[str, ...]
    """The case of each patch."""
    prior: Tensor | None = None
    """(B, *loaded) label indices that an earlier stage predicted: an input of the network, beside the images."""


def network_input(images: Tensor, prior: Tensor | None) -> Tensor:
    """What the network sees: ``images`` (B, C, *patch), then the ``prior`` (B, *patch), if there is one."""
    return images if prior is None else torch.cat((images, prior[:, None].to(images.dtype)), 1)


@dataclass(frozen=True)
class PatchSampler:
    """Chooses cases and patches by seed, purpose and batch number only."""

    cases: Mapping[str, ReadableCase]
    keys: tuple[str, ...]
    """Cases to draw from: each comes once before any comes twice."""
    patch_size: tuple[int, ...]
    """What the network sees lies inside the image wherever the image is large enough. Two entries: one slice."""
    loaded_shape: tuple[int, ...]
    """What is read, with the same centre: at least ``patch_size``; beyond the image it is 0 and background."""
    batch_size: int
    foreground: float = 0.33
    """Share of a batch that is centred on a foreground voxel; at least one patch unless it is 0."""
    slices: int = 1
    """2-D: how many neighbouring slices come in as channels, the patch being the middle one."""
    ignore_index: int | None = None
    """With an ignore label, patches not centred on foreground still contain some: elsewhere nothing may be labelled."""
    seed: int = 0
    purpose: str = "patches"

    def batch(self, number: int) -> Batch:
        """Batch ``number``, 0, 1, 2, ..."""
        random = generator(self.seed, self.purpose, number)
        forced = self.batch_size - round(self.batch_size * (1.0 - self.foreground))  # as nnU-Net v2 2.8.1
        if self.foreground > 0:
            forced = max(1, forced)
        keys = tuple(self._key(number * self.batch_size + position) for position in range(self.batch_size))
        patches = [
            self._patch(self.cases[key], random, on_foreground=position >= self.batch_size - forced)
            for position, key in enumerate(keys)
        ]
        images = np.stack([image for image, _ in patches])
        maps = np.stack([labels for _, labels in patches])
        if maps.dtype == np.uint16:
            maps = maps.astype(np.int32)  # torch computes little in uint16
        targets = torch.from_numpy(maps)
        if targets.dim() == 1 + len(self.loaded_shape):
            return Batch(torch.from_numpy(images), targets, keys)
        return Batch(torch.from_numpy(images), targets[:, 0], keys, prior=targets[:, 1])

    def _key(self, draw: int) -> str:
        """The case of the ``draw``-th patch since the beginning: a new random order after every pass."""
        passes, place = divmod(draw, len(self.keys))
        order = generator(self.seed, self.purpose, "order", passes).permutation(len(self.keys))
        return self.keys[order[place]]

    def _patch(
        self, case: ReadableCase, random: np.random.Generator, *, on_foreground: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        flat = len(self.patch_size) == 2
        patch = np.array((1, *self.patch_size) if flat else self.patch_size)
        loaded = np.array((1, *self.loaded_shape) if flat else self.loaded_shape)
        start = self._start(case, patch, random, on_foreground) - (loaded - patch) // 2
        return read_slices(case, start, loaded, self.slices) if flat else read_padded(case, start, loaded)

    def _start(
        self, case: ReadableCase, patch: np.ndarray, random: np.random.Generator, on_foreground: bool
    ) -> np.ndarray:
        """First voxel of the patch. Inside the image where it fits, centred where the image is smaller."""
        room = np.array(case.shape) - patch
        last = np.maximum(room, 0)
        start = random.integers(0, last + 1)
        labels = [index for index, voxels in case.foreground.items() if index != self.ignore_index and len(voxels)]
        if labels and (on_foreground or self.ignore_index is not None):
            voxels = case.foreground[labels[random.integers(len(labels))]]
            voxel = voxels[random.integers(len(voxels))]
            # Without force the voxel may lie anywhere in the patch, not just at its centre.
            inside = patch // 2 if on_foreground else random.integers(0, patch)
            start = np.clip(voxel - inside, 0, last)
        return np.where(room < 0, room // 2, start)


def training_sampler(
    cases: Mapping[str, ReadableCase], keys: Sequence[str], plan: Plan, configuration: Configuration, seed: int
) -> PatchSampler:
    """What a configuration trains on: patches enlarged as its augmentation needs, cases kept in memory."""
    return PatchSampler(
        CaseCache(cases),
        tuple(keys),
        configuration.patch_size,
        configuration.augmentation.loaded_shape(configuration.patch_size),
        configuration.batch_size,
        configuration.training.foreground,
        configuration.slices,
        plan.labels.ignore_index,
        seed,
    )


def validation_sampler(
    cases: Mapping[str, ReadableCase], keys: Sequence[str], plan: Plan, configuration: Configuration, seed: int
) -> PatchSampler:
    """The same choice of patches on other cases, not enlarged, for the online Dice."""
    training = training_sampler(cases, keys, plan, configuration, seed)
    return replace(training, loaded_shape=configuration.patch_size, purpose="validation patches")


def read_padded(case: ReadableCase, start: np.ndarray, shape: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The block of ``shape`` from ``start`` (z, y, x), which may reach beyond the image: 0 and background there."""
    inner_start = np.clip(start, 0, case.shape)
    inner_stop = np.clip(start + shape, inner_start, case.shape)
    image, labels = case.read(Box(_triple(inner_start), _triple(inner_stop)))
    if image.shape[1:] == tuple(shape):
        return image, labels
    z, y, x = Box(_triple(inner_start - start), _triple(inner_stop - start)).slices
    padded_image = np.zeros((len(image), *shape), image.dtype)
    padded_image[:, z, y, x] = image
    padded_labels = np.zeros((*labels.shape[:-3], *shape), labels.dtype)
    padded_labels[..., z, y, x] = labels
    return padded_image, padded_labels


def read_slices(case: ReadableCase, start: np.ndarray, shape: np.ndarray, slices: int) -> tuple[np.ndarray, np.ndarray]:
    """Slice ``start[0]``, which must exist, with its neighbours as channels (channels * slices, y, x), and its labels.

    Beyond the first and the last slice these come again.
    """
    middle, reach = int(start[0]), slices // 2
    wanted = np.clip(np.arange(middle - reach, middle + reach + 1), 0, case.shape[0] - 1)
    first, depth = wanted[0], wanted[-1] - wanted[0] + 1
    image, labels = read_padded(case, np.array([first, *start[1:]]), np.array([depth, *shape[1:]]))
    return image[:, wanted - first].reshape(-1, *image.shape[2:]), labels[..., middle - first, :, :]


def _triple(vector: np.ndarray) -> tuple[int, int, int]:
    z, y, x = vector.tolist()
    return (z, y, x)


@dataclass(frozen=True)
class CaseInMemory:
    """A whole case as arrays, shaped as ``ReadableCase.read`` gives them."""

    image: np.ndarray
    labels: np.ndarray
    foreground: Mapping[int, np.ndarray]

    @property
    def shape(self) -> tuple[int, int, int]:
        z, y, x = self.labels.shape[-3:]
        return (z, y, x)

    @property
    def channels(self) -> int:
        return len(self.image)

    def read(self, box: Box) -> tuple[np.ndarray, np.ndarray]:
        z, y, x = box.slices
        return self.image[:, z, y, x], self.labels[..., z, y, x]


class CaseCache(Mapping[str, ReadableCase]):
    """Keeps whole cases in memory, from their first use on, until ``budget`` bytes are full; the rest stay on disk."""

    def __init__(self, cases: Mapping[str, ReadableCase], budget: int | None = None) -> None:
        self._cases = cases
        self._room = int(CACHE_SHARE * memory_bytes()) if budget is None else budget
        self._kept: dict[str, ReadableCase] = {}
        self._lock = threading.Lock()

    def __getitem__(self, key: str) -> ReadableCase:
        with self._lock:
            if key not in self._kept:
                self._kept[key] = self._load(self._cases[key])
            return self._kept[key]

    def _load(self, case: ReadableCase) -> ReadableCase:
        size = prod(case.shape) * (2 * case.channels + 2)  # float16 and at most 16-bit labels
        if size > self._room:
            return case
        self._room -= size
        image, labels = case.read(Box.whole(case.shape))
        return CaseInMemory(image, labels, dict(case.foreground))

    def __iter__(self) -> Iterator[str]:
        return iter(self._cases)

    def __len__(self) -> int:
        return len(self._cases)


def batches(sampler: PatchSampler, first: int, workers: int, ahead: int) -> Generator[Batch, None, None]:
    """Batches ``first``, ``first + 1``, ... without end, read in the background; close it to stop reading."""
    yield from ordered_map(sampler.batch, count(first), workers, ahead)
