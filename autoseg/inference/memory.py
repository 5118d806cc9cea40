"""What predicting a case takes of main memory, and who may take it when."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from math import prod
from types import TracebackType

from ..configuration import Configuration
from ..core.geometry import Box, Geometry
from ..core.machine import available_bytes
from ..core.process import resident_bytes
from ..parts.networks._convolution import CHUNK_BYTES
from ..preprocessing.spatial import spatial_record, transpose
from ..settings import Resolved
from ..task import Task
from .entropy import sums_per_voxel
from .members import SUMMED_BYTES
from .resampled import SLAB_BYTES, needs_whole
from .sliding_window import patches_at_once

SHARE = 0.75  # of the memory that is available, where the user named no amount
HELD, HELD_IN_HALF = 8, 6  # copies of its finest feature maps, in float32, that a U-Net holds on its way down and up
COMBINED_BYTES = 2 * CHUNK_BYTES  # planes and products of a 3-D convolution in blocks, at most
CORRECTING = 8  # bytes per voxel of masks and numbered components while a label map is corrected
WORKED = 6  # arrays that exist while the summands of a few slices of a patch are computed
READING = 3  # copies of an image in float32 while it is read, normalised and resampled
FILTERING = 8  # copies of a channel in float32 while it is filtered: libraries keep some of their own


@dataclass(frozen=True)
class Need:
    """Bytes of main memory that one case takes, estimated before it is read."""

    reading: int
    """While it is brought to the network's grid."""
    fixed: int
    """While the network works, without ``window``."""
    window: int
    """Sums of logits, or of feature maps that become logits later; they may lie in a file instead."""

    correcting: int = 0
    """While its label map is corrected, the window being gone."""

    @property
    def least(self) -> int:
        """What it takes at least, with the window in a file."""
        return max(self.reading, self.fixed, self.correcting)

    def room(self, budget: int) -> int:
        """What ``budget`` leaves for the window."""
        return max(0, budget - self.fixed)

    def total(self, budget: int) -> int:
        """What the case takes when it may take ``budget``."""
        window = self.window if self.window <= self.room(budget) else 0
        return max(self.least, self.fixed + window)

    def together(self, earlier: Need) -> Need:
        """With an earlier stage, which works first while this one's image waits."""
        reading, fixed = self.reading + earlier.fixed, max(self.fixed, earlier.fixed) + min(self.fixed, earlier.fixed)
        return Need(reading, fixed, max(self.window, earlier.window))

    def beside(self, other: Need) -> Need:
        """With another configuration, which works at the same time."""
        return Need(self.reading + other.fixed, self.fixed + other.fixed, self.window + other.window)

    def with_output(self, output: Need) -> Need:
        """With what an output takes from the first slab until it is written."""
        return replace(self, fixed=self.fixed + output.fixed, window=self.window + output.window)

    def corrected(self, geometry: Geometry) -> Need:
        """With corrections of the label map, which has the size of the file's image."""
        return replace(self, correcting=self.fixed + CORRECTING * prod(geometry.shape))


NOTHING = Need(0, 0, 0)


def need(geometry: Geometry, task: Task, run: Resolved, values: int | None = None, sampled: bool = False) -> Need:
    """For an image of this size, were nothing cropped away. ``values`` are summed per voxel; None: one per head.

    ``sampled``: networks are asked for samples of their dropout, whose probabilities are summed for each patch.
    Raises DatasetError for more voxels than can be counted.
    """
    configuration, transposed = task.configuration, transpose(task, geometry)
    turned = Box.whole(tuple(geometry.shape[axis] for axis in transposed.order))  # type: ignore[arg-type]
    record = spatial_record(geometry.shape, geometry.spacing, transposed.order, turned, configuration.spacing)
    _, resampling = record.split()
    z, y, x = resampling.new_shape
    channels, heads, voxels = len(task.channels), task.labels.heads, prod(geometry.shape)
    filters = any(configuration.filters)
    extras, seen = sum(group.read for group in task.inputs.extras), len(task.seen)
    joined = seen + extras if extras else 0  # the image, and beside it all that the network sees
    patch = (1, *configuration.patch_size)[-3:]
    whole = needs_whole(resampling, configuration.resampler)
    summed = heads if whole or values is None else values
    output = 4 * summed * prod(patch) * patches_at_once(prod(patch), summed, run)
    slab = max(SLAB_BYTES, 4 * heads * (y * x + prod(resampling.shape[1:])))
    labels = 2 * voxels * task.labels.written.itemsize
    height = z if whole else min(z, patch[0])
    return Need(
        reading=4 * voxels * ((READING + filters) * channels + FILTERING * filters),
        fixed=4 * (seen + joined) * z * y * x
        + labels
        + (4 if sampled else 2) * output
        + working_bytes(configuration, summed, run)
        + 2 * slab,
        window=4 * summed * max(height, patch[0]) * max(y, patch[1]) * max(x, patch[2]),
    )


def need_of_disagreement(window: int, task: Task, values: int | None = None) -> Need:
    """What is summed of members, too, where their disagreement is asked for, beside a ``window`` of ``values``."""
    sums, patch = sums_per_voxel(task.labels), (1, *task.configuration.patch_size)[-3:]
    beside = window // (values or task.labels.heads) * sums
    slices = beside // patch[0]  # one of the whole image, which is at least as high as a patch
    return Need(0, slices + WORKED * max(SUMMED_BYTES, 4 * sums * prod(patch[1:])), beside)


def slab_bytes(task: Task, geometry: Geometry) -> int:
    """Of the logits of a few slices on the file's grid, at most."""
    whole = 4 * task.labels.heads * prod(geometry.shape)
    return min(whole, max(SLAB_BYTES, whole // min(geometry.shape)))


def patch_bytes(task: Task, run: Resolved) -> int:
    """Main memory that any image takes, however small: it is padded to a patch, and logits are summed on one."""
    configuration, labels = task.configuration, task.labels
    summed, voxels = min(labels.heads, configuration.network.features[0]), prod(configuration.patch_size)
    return 4 * (task.inputs.read + summed) * voxels + working_bytes(configuration, summed, run)


def working_bytes(configuration: Configuration, values: int, run: Resolved) -> int:
    """Main memory in which the network makes ``values`` per voxel of the patches that it sees at a time."""
    if run.device.type != "cpu":
        return 0
    voxels = prod(configuration.patch_size)
    features = configuration.network.features
    patches = patches_at_once(voxels, values, run)
    finest, beside = (4 * count * voxels * patches for count in (features[0], configuration.network.held_beside))
    held = HELD_IN_HALF * finest if run.dtype else HELD * finest + min(HELD * finest, COMBINED_BYTES)
    return held + beside


def budget(memory: int | None) -> int:
    """Bytes that predictions may take from now on. ``memory`` is what the whole process may hold; None: most of what
    the machine has available."""
    if memory is None:
        return int(SHARE * available_bytes())
    return max(0, memory - resident_bytes())


class Gate:
    """Lets a case in when what is left of the budget suffices for it, or when no other is inside.

    A case that waits here may wait for any that is inside: so nothing that one of these still needs, to its end, may
    itself wait for the one that waits, and whoever does not get to its end has to leave, too.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._taken: dict[str, int] = {}
        self._changed = threading.Condition()
        self._open = True

    def __enter__(self) -> Gate:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nobody waits any longer: whoever waited goes on, since the work has ended or failed."""
        with self._changed:
            self._open = False
            self._changed.notify_all()

    def enter(self, key: str, amount: int) -> None:
        """Waits until ``amount`` bytes are left and takes them."""
        with self._changed:
            self._changed.wait_for(lambda: not self._open or self._fits(amount))
            self._taken[key] = amount

    def leave(self, key: str) -> None:
        """Gives back what was taken, if anything was."""
        with self._changed:
            self._taken.pop(key, None)
            self._changed.notify_all()

    def _fits(self, amount: int) -> bool:
        return not self._taken or sum(self._taken.values()) + amount <= self.budget
