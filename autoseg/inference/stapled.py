"""STAPLE of what the configurations of an ensemble decide, as logits that all outputs understand.

It asks how good each configuration is on the whole image before it says anything about a voxel. So all slices come in
before the first one leaves, and meanwhile the decisions are held: a byte or two per voxel and configuration, in a file
where memory is too little. No volume of logits is. Networks work once, as for the mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from torch import Tensor

from ..core.geometry import Geometry
from ..core.labels import Labels
from ..core.scratch import Scratch
from ..core.staple import Staple, bytes_beside, decision_type
from ..task import Task
from .accumulator import Space
from .memory import Need, slab_bytes
from .readout import Slab
from .stored_probabilities import mean_logits


@dataclass(frozen=True)
class StapleCombination:
    """Of so many configurations, on one image."""

    configurations: int
    labels: Labels
    shape: tuple[int, int, int]
    """Voxels (z, y, x) that slabs fill."""

    @property
    def held(self) -> int:
        """Bytes of all decisions."""
        return self.configurations * prod(self.shape) * decision_type(self.labels.heads, self.labels.exclusive).itemsize

    def slabs(
        self, streams: Iterable[tuple[slice, Sequence[Slab], Tensor | None]], space: Space
    ) -> Iterator[tuple[slice, Slab]]:
        """Of slices with the logits of every configuration, and their disagreement where that is asked for.

        Raises DatasetError where the configurations contradict each other in more ways than memory holds.
        """
        labels, kind = self.labels, decision_type(self.labels.heads, self.labels.exclusive)
        whole = (self.configurations, *self.shape)
        scratch = Scratch(whole, kind, space.folder) if space.room is not None and self.held > space.room else None
        decisions = scratch.array if scratch else np.zeros(whole, kind)
        staple, beside = Staple(self.configurations, labels.heads, labels.exclusive), []
        for rows, slabs, disagreement in streams:
            for number, slab in enumerate(slabs):
                decisions[number, rows] = decided(slab.logits(), labels).cpu().numpy()
            staple.add(decisions[:, rows].reshape(self.configurations, -1))
            beside.append((rows, disagreement))
            if scratch:
                scratch.release()
        staple.estimate()
        for rows, disagreement in beside:
            there = decisions[:, rows]
            chances = torch.from_numpy(staple.chances(there.reshape(self.configurations, -1))).movedim(0, -1)
            yield rows, Slab(mean_logits(chances, labels).view(*there.shape[1:], labels.heads), None, disagreement)


def decided(logits: Tensor, labels: Labels) -> Tensor:
    """What ``core.staple`` calls a decision, from logits (..., heads)."""
    if labels.exclusive:
        return labels.winners(logits)
    return ((logits > 0).long() << torch.arange(labels.heads, device=logits.device)).sum(-1)


def need_of_staple(configurations: int, task: Task, geometry: Geometry, disagreement: bool) -> Need:
    """Beside what the configurations take: the decisions, which may lie in a file, and tables of them."""
    labels, voxels = task.labels, prod(geometry.shape)
    at_once = slab_bytes(task, geometry) // (4 * labels.heads)
    tables = bytes_beside(configurations, labels.heads, labels.exclusive, voxels, at_once)
    held = StapleCombination(configurations, labels, geometry.shape).held
    return Need(0, tables + 4 * voxels * disagreement, held)
