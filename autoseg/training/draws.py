"""What is random about the augmentation of a batch: known before the batch is read, so that only what it needs is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..configuration import Configuration
from ..core.seeds import generator
from ..task import Task
from .process_group import SINGLE_PROCESS, ProcessGroup


@dataclass(frozen=True)
class Draws:
    """Draws by seed and iteration only: the same whenever and wherever it is asked."""

    configuration: Configuration
    channels: int
    """Of the images, without neighbouring slices."""
    mirror_axes: tuple[int, ...]
    """Axes of the patch."""
    prior_labels: int
    """Labels, without background, of a label map that comes in with the images; 0: none comes."""
    seed: int
    group: ProcessGroup = SINGLE_PROCESS

    @classmethod
    def of(cls, task: Task, seed: int, group: ProcessGroup = SINGLE_PROCESS) -> Draws:
        skipped = 3 - task.configuration.dimensions  # a 2-D patch has no z axis
        axes = tuple(axis - skipped for axis in task.mirrored)
        prior_labels = sum(group.channels for group in task.inputs.extras)
        return cls(task.configuration, task.inputs.image.channels, axes, prior_labels, seed, group)

    def of_shard(self, iteration: int) -> tuple[Any, int]:
        """What the augmentation drew for this process's patches, and a seed for whatever else is random in the step."""
        params, seed = self._of_batch(iteration)
        if params is not None:
            share = self.group.shard(self.configuration.batch_size)
            params = params.of_patches(share.start, share.stop)
        return params, seed + self.group.rank

    def shapes(self, iteration: int) -> list[tuple[int, ...]]:
        """Voxels that are to be read of every patch of the batch, with the patch's centre."""
        params, _ = self._of_batch(iteration)
        needed, patch_size = self.configuration.augmentation.needed_shape, self.configuration.patch_size
        return [needed(params, patch, patch_size) for patch in range(self.configuration.batch_size)]

    def _of_batch(self, iteration: int) -> tuple[Any, int]:
        random = generator(self.seed, "augmentation", iteration)
        params = self.configuration.augmentation.draw(
            random,
            batch=self.configuration.batch_size,
            channels=self.channels,
            mirror_axes=self.mirror_axes,
            dimensions=self.configuration.dimensions,
            prior_labels=self.prior_labels,
        )
        return params, int(random.integers(2**63))
