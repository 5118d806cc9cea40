"""Patches from prepared cases. Patch number i is the same whenever, wherever and by whichever thread it is made."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import chain, count, islice
from math import inf, prod

import numpy as np
import torch
from torch import Tensor

from ..core.machine import memory_bytes
from ..core.parallel import ordered_map
from ..core.seeds import generator
from ..preprocessing.locations import Locations
from ..task import Task
from .cases import CACHE_SHARE, CaseCache, ReadableCase, read_padded, read_slices
from .draws import Draws
from .process_group import SINGLE_PROCESS, ProcessGroup

AHEAD_SHARE = 0.1  # of the main memory, for patches that are read before their turn
NUMBER_BYTES = 4  # of the largest numbers that cases are stored in


@dataclass(frozen=True)
class Batch:
    """Patches as they were read, before augmentation: a tensor for each, since of each is read what it needs.

    As many as the batch size says, or a process's share of them.
    """

    images: Sequence[Tensor]
    """Each (channels, *loaded), float16 or float32 as stored."""
    targets: Sequence[Tensor]
    """Each (*loaded) label indices, as stored."""
    keys: tuple[str, ...]
    """The case of each patch."""
    extras: tuple[Sequence[Tensor], ...] = ()
    """Of every further input of the network, in the order of the task's: each (read, *loaded)."""
    absent: tuple[tuple[int, ...], ...] = ()
    """Of each patch the channels, counted from 0, that its case lacks; empty: no case lacks any."""


@dataclass(frozen=True)
class Patch:
    """One patch before it is read."""

    number: int
    """Counted since the beginning."""
    on_foreground: bool
    shape: tuple[int, ...]
    """Voxels to read, with the centre of what the network will see."""


@dataclass(frozen=True)
class PatchSampler:
    """Chooses cases and patches by seed, purpose and the patch's number only."""

    cases: Mapping[str, ReadableCase]
    keys: tuple[str, ...]
    """Cases to draw from: in turn, each once before any comes twice."""
    patch_size: tuple[int, ...]
    """What the network sees lies inside the image wherever the image is large enough. Two entries: one slice."""
    batch_size: int
    oversampling: float = 0.33
    """Share of a batch that is centred on a foreground voxel; at least one patch unless it is 0."""
    balance: float = 0.0
    """Share of those for which a label is drawn first and then one of the cases that hold it, out of turn."""
    components: float = 0.0
    """Share of those for which a connected part of the label is drawn first and then a voxel of it."""
    holders: Mapping[int, Sequence[str]] = field(default_factory=dict)
    """Label index to the cases that hold it; needed for ``balance``."""
    slices: int = 1
    """2-D: how many neighbouring slices come in as channels, the patch being the middle one."""
    ignore_index: int | None = None
    """With an ignore label, patches not centred on foreground still hold an annotated voxel, any of them alike."""
    seed: int = 0
    purpose: str = "patches"
    shard: range | None = None
    """Which patches of every batch are read here; None: all."""
    shapes: Callable[[int], Sequence[tuple[int, ...]]] | None = None
    """What is read of each patch of a batch, with the same centre; beyond the image it is 0 and background. None:
    ``patch_size``."""
    voxel_bytes: int = 8
    """Of all that is read of one voxel, at most."""
    room: float = inf
    """Bytes that patches may take which are read ahead."""
    absent: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Case to the channels that it lacks; those that are not named have all."""

    def batch(self, number: int) -> Batch:
        """Batch ``number``, 0, 1, 2, ..."""
        return self.together([self.read(patch) for patch in self.patches(number)])

    def patches(self, number: int) -> list[Patch]:
        """Those of batch ``number`` that are read here."""
        forced = self.batch_size - round(self.batch_size * (1.0 - self.oversampling))  # as nnU-Net v2 2.8.1
        if self.oversampling > 0:
            forced = max(1, forced)
        first, shapes = number * self.batch_size, self.shapes(number) if self.shapes is not None else None
        return [
            Patch(first + place, place >= self.batch_size - forced, shapes[place] if shapes else self.patch_size)
            for place in (range(self.batch_size) if self.shard is None else self.shard)
        ]

    def bytes_of(self, patch: Patch) -> int:
        """What a patch takes once it is read, at most."""
        return prod(patch.shape) * self.voxel_bytes

    def read(self, patch: Patch) -> tuple[str, tuple[Tensor, ...]]:
        """Its case, and image (channels, *loaded), label indices (*loaded) and every further input (read, *loaded)."""
        random = generator(self.seed, self.purpose, patch.number)
        key, label = self._in_turn(patch.number), None
        if patch.on_foreground and self.holders and random.random() < self.balance:
            label = list(self.holders)[random.integers(len(self.holders))]
            key = self.holders[label][int(random.integers(len(self.holders[label])))]
        case, flat = self.cases[key], len(self.patch_size) == 2
        size = np.array((1, *self.patch_size) if flat else self.patch_size)
        loaded = np.array((1, *patch.shape) if flat else patch.shape)
        start = self._start(case, size, random, label, patch.on_foreground) - (loaded - size) // 2
        arrays = read_slices(case, start, loaded, self.slices) if flat else read_padded(case, start, loaded)
        return key, tuple(map(_tensor, arrays))

    def together(self, patches: Sequence[tuple[str, tuple[Tensor, ...]]]) -> Batch:
        """Of what was read of each patch."""
        keys, arrays = zip(*patches)
        images, targets, *extras = zip(*arrays)
        absent = tuple(self.absent.get(key, ()) for key in keys) if self.absent else ()
        return Batch(images, targets, keys, tuple(extras), absent)

    def _in_turn(self, number: int) -> str:
        """A new random order after every pass."""
        passes, place = divmod(number, len(self.keys))
        order = generator(self.seed, self.purpose, "order", passes).permutation(len(self.keys))
        return self.keys[order[place]]

    def _start(
        self, case: ReadableCase, patch: np.ndarray, random: np.random.Generator, label: int | None, on_foreground: bool
    ) -> np.ndarray:
        """First voxel of the patch. Inside the image where it fits, centred where the image is smaller."""
        room = np.array(case.shape) - patch
        last = np.maximum(room, 0)
        start = random.integers(0, last + 1)
        if on_foreground or self.ignore_index is not None:
            voxel = self._voxel(case.foreground, random, label, on_foreground)
            if voxel is not None:
                # Without force the voxel may lie anywhere in the patch, not just at its centre.
                inside = patch // 2 if on_foreground else random.integers(0, patch)
                start = np.clip(voxel - inside, 0, last)
        return np.where(room < 0, room // 2, start)

    def _voxel(
        self, found: Locations, random: np.random.Generator, label: int | None, on_foreground: bool
    ) -> np.ndarray | None:
        """One of ``label``, or of some label that is there; without force, any annotated one. None: there is none."""
        present = found.present
        if not present:
            return None
        if not on_foreground:
            sizes = np.array(list(present.values()))
            return found.draw(list(present)[random.choice(len(sizes), p=sizes / sizes.sum())], random)
        if label is None:
            labels = [index for index in present if index] or list(present)  # annotated background, if nothing else
            label = labels[random.integers(len(labels))]
        return found.draw(label, random, part_first=random.random() < self.components)


def training_sampler(
    cases: Mapping[str, ReadableCase],
    keys: Sequence[str],
    task: Task,
    seed: int,
    group: ProcessGroup = SINGLE_PROCESS,
) -> PatchSampler:
    """What is trained on: of each patch what its augmentation needs, cases kept in memory."""
    configuration, rules = task.configuration, task.configuration.training
    return PatchSampler(
        CaseCache(cases, int(CACHE_SHARE * memory_bytes()) // group.beside),
        tuple(keys),
        configuration.patch_size,
        configuration.batch_size,
        rules.oversampling,
        rules.balance,
        rules.components,
        _holders(cases, keys) if rules.balance else {},
        configuration.slices,
        task.labels.ignore_index,
        seed,
        shard=group.shard(configuration.batch_size),
        shapes=Draws.of(task, seed, group).shapes,
        voxel_bytes=NUMBER_BYTES * (task.inputs.read + 1),
        room=AHEAD_SHARE * memory_bytes() / group.beside,
        absent={key: absent for key in keys if (absent := cases[key].absent)},
    )


def validation_sampler(cases: Mapping[str, ReadableCase], keys: Sequence[str], task: Task, seed: int) -> PatchSampler:
    """The same choice of patches on other cases, as the network sees them, for the online Dice.

    Nothing is kept in memory: it is the same few patches every time.
    """
    training = training_sampler(cases, keys, task, seed)
    return replace(training, cases=cases, shapes=None, purpose="validation patches")


def _holders(cases: Mapping[str, ReadableCase], keys: Sequence[str]) -> dict[int, list[str]]:
    """Label index, without background, to the cases that hold it."""
    holders: dict[int, list[str]] = {}
    for key in keys:
        for index in cases[key].foreground.present:
            if index:
                holders.setdefault(index, []).append(key)
    return dict(sorted(holders.items()))


def _tensor(array: np.ndarray) -> Tensor:
    """Of its own: part of a case that is kept in memory is copied."""
    if array.dtype == np.uint16:
        array = array.astype(np.int32)  # torch computes little in uint16
    return torch.from_numpy(array if array.flags.owndata and array.flags.c_contiguous else array.copy())


def batches(sampler: PatchSampler, first: int, workers: int, ahead: int) -> Generator[Batch, None, None]:
    """Batches ``first``, ``first + 1``, ... without end, read in the background; close it to stop reading.

    The patches of a batch are spread over ``workers`` threads. Of patches that are being read or wait there are at most
    ``workers``, ``ahead`` batches more, and as many as ``sampler.room`` holds, but always one.
    """
    share = sampler.batch_size if sampler.shard is None else len(sampler.shard)
    patches = chain.from_iterable(map(sampler.patches, count(first)))
    read = ordered_map(sampler.read, patches, workers, ahead * share, size=sampler.bytes_of, room=sampler.room)
    with closing(read):
        while True:
            yield sampler.together(list(islice(read, share)))
