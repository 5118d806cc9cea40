"""What is random about the augmentation of a batch: known before the batch is read, so that only what it needs is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from ..configuration import Configuration
from ..core.inputs import InputGroup
from ..core.seeds import generator
from ..parts.contracts import Augmentation
from ..task import Task
from .process_group import SINGLE_PROCESS, ProcessGroup


@dataclass(frozen=True)
class Drawn:
    """For one batch, or a process's share of it."""

    params: Any
    """Of the augmentation."""
    inputs: tuple[Sequence[Any], ...]
    """Of each further input, an entry per patch."""
    seed: int
    """For whatever else is random in the step."""
    missing: Sequence[np.ndarray] = ()
    """Of each patch, what decides which channels are withheld from it; empty: none ever are."""


@dataclass(frozen=True)
class PatchMove:
    """How an augmentation moves the patches for which ``params`` were drawn."""

    augmentation: Augmentation
    params: Any
    patch_size: tuple[int, ...]
    absent: Sequence[tuple[int, ...]] = ()
    """Of each patch the channels that are left out; empty: none."""

    def images(self, images: Sequence[Tensor]) -> Tensor:
        """Each (channels, *loaded), to float32 (B, channels, *patch)."""
        return self.augmentation.move_images(images, self.params, self.patch_size)

    def labels(self, labels: Sequence[Tensor]) -> Tensor:
        """Label indices, each (maps, *loaded), to (B, maps, *patch)."""
        return self.augmentation.move_labels(labels, self.params, self.patch_size)


@dataclass(frozen=True)
class Draws:
    """Draws by seed and iteration only: the same whenever and wherever it is asked."""

    configuration: Configuration
    channels: tuple[str, ...]
    """That the network sees."""
    mirror_axes: tuple[int, ...]
    """Axes of the patch."""
    extras: tuple[InputGroup, ...]
    """What the network gets of each further input."""
    seed: int
    group: ProcessGroup = SINGLE_PROCESS

    @classmethod
    def of(cls, task: Task, seed: int, group: ProcessGroup = SINGLE_PROCESS) -> Draws:
        skipped = 3 - task.configuration.dimensions  # a 2-D patch has no z axis
        axes = tuple(axis - skipped for axis in task.mirrored)
        names = tuple(task.channels[channel] for channel in task.seen)
        return cls(task.configuration, names, axes, task.inputs.extras, seed, group)

    def of_shard(self, iteration: int) -> Drawn:
        """What was drawn for this process's patches."""
        whole, share = self._of_batch(iteration), self.group.shard(self.configuration.batch_size)
        params = whole.params if whole.params is None else whole.params.of_patches(share.start, share.stop)
        inputs = tuple(drawn[share.start : share.stop] for drawn in whole.inputs)
        return Drawn(params, inputs, whole.seed + self.group.rank, whole.missing[share.start : share.stop])

    def left_out(self, drawn: Drawn, absent: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
        """Of each patch the channels that the network does not get: those that its case lacks (``absent``; empty: no
        case lacks any), and those that are withheld from it."""
        missing = self.configuration.missing
        lacking = absent or [()] * len(drawn.missing)
        if missing is None:
            return [*lacking]
        return [
            (*there, *missing.withheld(row, self.channels, there))
            for row, there in zip(drawn.missing, lacking, strict=True)
        ]

    def shapes(self, iteration: int) -> list[tuple[int, ...]]:
        """Voxels that are to be read of every patch of the batch, with the patch's centre."""
        params = self._of_batch(iteration).params
        needed, patch_size = self.configuration.augmentation.needed_shape, self.configuration.patch_size
        return [needed(params, patch, patch_size) for patch in range(self.configuration.batch_size)]

    def _of_batch(self, iteration: int) -> Drawn:
        random = generator(self.seed, "augmentation", iteration)
        params = self.configuration.augmentation.draw(
            random,
            batch=self.configuration.batch_size,
            channels=len(self.channels),
            mirror_axes=self.mirror_axes,
            dimensions=self.configuration.dimensions,
        )
        inputs = tuple(
            part.draw(random, batch=self.configuration.batch_size, group=group)
            for part, group in zip(self.configuration.inputs, self.extras)
        )
        return Drawn(params, inputs, int(random.integers(2**63)), self._withholding(iteration))

    def _withholding(self, iteration: int) -> Sequence[np.ndarray]:
        """From a generator of its own: nothing else is drawn otherwise where channels may be missing."""
        missing, batch = self.configuration.missing, self.configuration.batch_size
        if missing is None:
            return ()
        random = generator(self.seed, "missing channels", iteration)
        return tuple(missing.draw(random, batch=batch, channels=len(self.channels)))
