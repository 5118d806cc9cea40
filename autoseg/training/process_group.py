"""Several processes that train one network, on one machine or many: each computes its share of every batch.

All hold the same weights. The leader alone decides (when to stop, how far training is by the clock), looks at
validation cases, writes and tells. Torch reads from the environment who the others are, as ``torchrun`` sets it.
"""

from __future__ import annotations

import logging
import socket
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn

from ..errors import TrainingError
from ..settings import RunSettings, resolve
from .arithmetic import Forward

LOG = logging.getLogger("autoseg")
LONGEST_WAIT = timedelta(days=2)  # the others wait while the leader validates; a process that dies ends all of them


@dataclass(frozen=True)
class ProcessGroup:
    """One of ``size`` processes, or a process by itself."""

    rank: int = 0
    """0 is the leader."""
    size: int = 1
    beside: int = 1
    """Processes on this machine."""

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def shard(self, batch_size: int, rank: int | None = None) -> range:
        """The patches of a batch that are this process's (or those of ``rank``): as many for each as can be."""
        rank = self.rank if rank is None else rank
        return range(rank * batch_size // self.size, (rank + 1) * batch_size // self.size)

    def agreed(self, *numbers: float) -> tuple[float, ...]:
        """The leader's numbers."""
        if self.size == 1:
            return numbers
        told = torch.tensor(numbers, dtype=torch.float64)
        distributed.broadcast(told, 0)
        return tuple(told.tolist())

    def refuse_other(self, what: str, number: float) -> None:
        """Raises TrainingError where this process does not find what the leader finds."""
        if self.agreed(number) != (number,):
            raise TrainingError(
                f"process {self.rank} finds another {what} than the leader: all need the same workspace"
            )

    def on_main(self, work: Callable[[], None]) -> None:
        """The leader does ``work``, the others wait for it."""
        if self.is_main:
            work()
        self.agreed(0.0)

    def data_parallel(self, forward: Forward) -> Forward:
        """``forward`` such that gradients are averaged over all processes as soon as they are known."""
        if self.size == 1:
            return forward
        assert isinstance(forward, nn.Module), "torch.compile keeps a module a module"
        # The coarsest scale has no loss and its last layer no gradient, which torch must be told to expect.
        return nn.parallel.DistributedDataParallel(forward, find_unused_parameters=True)

    def whole_batch(self, part: Tensor, batch_size: int) -> Tensor:
        """What was measured in the patches of all processes, in their order; ``part`` (patches, ...) is this one's.

        Gradients flow into that only. So every process computes the loss of the whole batch, whatever kind of loss that
        is (a Dice over the batch, a mean over voxels that are not ignored, the hardest voxels), and the sum of their
        gradients is that of a process by itself. What is exchanged are a few sums per patch and label.
        """
        if self.size == 1:
            return part
        most = len(self.shard(batch_size, self.size - 1))  # the last share is a largest one
        sent = part.detach().new_zeros(most, *part.shape[1:])
        sent[: len(part)] = part.detach()
        received = [torch.empty_like(sent) for _ in range(self.size)]
        distributed.all_gather(received, sent)
        received[self.rank] = part
        return torch.cat([patches[: len(self.shard(batch_size, rank))] for rank, patches in enumerate(received)])


SINGLE_PROCESS = ProcessGroup()


def refuse_small_batch(batch_size: int, group: ProcessGroup) -> None:
    """Raises TrainingError where a process would have nothing to do."""
    if batch_size < group.size:
        raise TrainingError(
            f"a batch of {batch_size} patches cannot be shared by {group.size} processes; start fewer, "
            f"or give --set batch_size={group.size} (of planning: autoseg plan)"
        )


@contextmanager
def process_group_of(settings: RunSettings) -> Iterator[tuple[ProcessGroup, RunSettings]]:
    """The group that ``torchrun`` has started, else this process alone; and the settings of this process in it.

    Of the GPUs of a machine each of its processes takes one, of the threads each a share.
    """
    if not (distributed.is_available() and distributed.is_torchelastic_launched()):
        yield SINGLE_PROCESS, settings
        return
    cuda = resolve(settings).device.type == "cuda"
    distributed.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=LONGEST_WAIT)
    level = LOG.level
    try:
        rank, size = distributed.get_rank(), distributed.get_world_size()
        here = _on_this_machine(size)
        member = ProcessGroup(rank, size, len(here))
        device = f"cuda:{here.index(rank)}" if cuda else settings.device
        settings = replace(settings, device=device, threads=max(1, settings.threads // len(here)))
        if cuda:
            torch.cuda.set_device(resolve(settings).device)
        if not member.is_main:
            LOG.setLevel(logging.ERROR)
        yield member, settings
    finally:
        LOG.setLevel(level)
        distributed.destroy_process_group()


def _on_this_machine(size: int) -> list[int]:
    """Ranks of the processes on the same host."""
    host = torch.tensor([zlib.crc32(socket.gethostname().encode())], dtype=torch.int64)
    hosts = [torch.empty_like(host) for _ in range(size)]
    distributed.all_gather(hosts, host)
    return [rank for rank, other in enumerate(hosts) if torch.equal(other, host)]
