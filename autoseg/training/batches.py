"""Patches from prepared cases. Patch number i is the same whenever, wherever and by whichever thread it is made."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

import numpy as np
import torch
from torch import Tensor

from ..core.machine import memory_bytes
from ..core.parallel import ordered_map
from ..core.seeds import generator
from ..plan import Configuration, Plan
from ..preprocessing.locations import Locations
from .cases import CACHE_SHARE, CaseCache, ReadableCase, read_padded, read_slices
from .team import ALONE, Team


@dataclass(frozen=True)
class Batch:
    """Patches as they were read, before augmentation."""

    images: Tensor
    """(B, channels, *loaded), float16 or float32 as stored. B is the batch size, or the share of it that is read."""
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
    """Chooses cases and patches by seed, purpose and the patch's number only."""

    cases: Mapping[str, ReadableCase]
    keys: tuple[str, ...]
    """Cases to draw from: in turn, each once before any comes twice."""
    patch_size: tuple[int, ...]
    """What the network sees lies inside the image wherever the image is large enough. Two entries: one slice."""
    loaded_shape: tuple[int, ...]
    """What is read, with the same centre: at least ``patch_size``; beyond the image it is 0 and background."""
    batch_size: int
    foreground: float = 0.33
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
    share: range | None = None
    """Which patches of every batch are read here; None: all."""

    def batch(self, number: int) -> Batch:
        """Batch ``number``, 0, 1, 2, ..."""
        forced = self.batch_size - round(self.batch_size * (1.0 - self.foreground))  # as nnU-Net v2 2.8.1
        if self.foreground > 0:
            forced = max(1, forced)
        first = number * self.batch_size
        drawn = [
            self._patch(first + position, on_foreground=position >= self.batch_size - forced)
            for position in (range(self.batch_size) if self.share is None else self.share)
        ]
        images = torch.from_numpy(np.stack([image for _, image, _ in drawn]))
        maps = np.stack([labels for _, _, labels in drawn])
        if maps.dtype == np.uint16:
            maps = maps.astype(np.int32)  # torch computes little in uint16
        targets, keys = torch.from_numpy(maps), tuple(key for key, _, _ in drawn)
        if targets.dim() == 1 + len(self.loaded_shape):
            return Batch(images, targets, keys)
        return Batch(images, targets[:, 0], keys, prior=targets[:, 1])

    def _patch(self, number: int, *, on_foreground: bool) -> tuple[str, np.ndarray, np.ndarray]:
        """Case, image and labels of the ``number``-th patch since the beginning."""
        random = generator(self.seed, self.purpose, number)
        key, label = self._in_turn(number), None
        if on_foreground and self.holders and random.random() < self.balance:
            label = list(self.holders)[random.integers(len(self.holders))]
            key = self.holders[label][int(random.integers(len(self.holders[label])))]
        case, flat = self.cases[key], len(self.patch_size) == 2
        patch = np.array((1, *self.patch_size) if flat else self.patch_size)
        loaded = np.array((1, *self.loaded_shape) if flat else self.loaded_shape)
        start = self._start(case, patch, random, label, on_foreground) - (loaded - patch) // 2
        return key, *(read_slices(case, start, loaded, self.slices) if flat else read_padded(case, start, loaded))

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
    plan: Plan,
    configuration: Configuration,
    seed: int,
    team: Team = ALONE,
) -> PatchSampler:
    """What a configuration trains on: patches enlarged as its augmentation needs, cases kept in memory."""
    rules = configuration.training
    return PatchSampler(
        CaseCache(cases, int(CACHE_SHARE * memory_bytes()) // team.beside),
        tuple(keys),
        configuration.patch_size,
        configuration.augmentation.loaded_shape(configuration.patch_size),
        configuration.batch_size,
        rules.foreground,
        rules.balance,
        rules.components,
        _holders(cases, keys) if rules.balance else {},
        configuration.slices,
        plan.labels.ignore_index,
        seed,
        share=team.share(configuration.batch_size),
    )


def validation_sampler(
    cases: Mapping[str, ReadableCase], keys: Sequence[str], plan: Plan, configuration: Configuration, seed: int
) -> PatchSampler:
    """The same choice of patches on other cases, not enlarged, for the online Dice.

    Nothing is kept in memory: it is the same few patches every time.
    """
    training = training_sampler(cases, keys, plan, configuration, seed)
    return replace(training, cases=cases, loaded_shape=configuration.patch_size, purpose="validation patches")


def _holders(cases: Mapping[str, ReadableCase], keys: Sequence[str]) -> dict[int, list[str]]:
    """Label index, without background, to the cases that hold it."""
    holders: dict[int, list[str]] = {}
    for key in keys:
        for index in cases[key].foreground.present:
            if index:
                holders.setdefault(index, []).append(key)
    return dict(sorted(holders.items()))


def batches(sampler: PatchSampler, first: int, workers: int, ahead: int) -> Generator[Batch, None, None]:
    """Batches ``first``, ``first + 1``, ... without end, read in the background; close it to stop reading."""
    yield from ordered_map(sampler.batch, count(first), workers, ahead)
