"""Graph cut (Boykov and Jolly 2001): the cheapest surface between a label and the rest, found as a maximum flow.

Each voxel pays for the side that its probability, of intensity and place, speaks against; neighbours on two sides pay
more the more alike they are. Of several labels each is cut from the rest, and a voxel of several is the likeliest one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.evidence import Hints, LabelledImage
from ...core.geometry import bounding_slices
from ._settings import candidates, refuse_impossible

STRENGTHS = (1.0, 0.3, 3.0)
UNIT = 1000  # capacities are whole numbers
SUREST = 1e-4  # no probability is nearer to 0 or 1


@dataclass(frozen=True)
class Spec:
    """Of one channel, and probabilities of all, in 3-D."""

    largest: ClassVar[int | None] = 1 << 20
    slice_by_slice: ClassVar[bool] = False
    one_channel: ClassVar[bool] = True

    smoothness: float | None = None
    """What neighbours pay that are equally bright, in units of the log-probability; None: 0.3, 1 and 3 are tried."""

    def __post_init__(self) -> None:
        refuse_impossible(self)

    def candidates(self) -> tuple[Spec, ...]:
        return candidates(self, smoothness=STRENGTHS)

    def fitted(self, cases: Sequence[LabelledImage]) -> Spec:
        return self

    def segment(self, image: np.ndarray, spacing: Sequence[float], hints: Hints | None) -> np.ndarray:
        assert hints is not None
        strength = STRENGTHS[0] if self.smoothness is None else self.smoothness
        found, best = np.zeros(image.shape[1:], np.int32), np.zeros(image.shape[1:], np.float32)
        for label in range(1, len(hints.places)):
            box = bounding_slices(hints.possible(label))
            if box is None:
                continue
            chance = hints.probabilities[label][box]
            inside = _cut(chance, image[0][box], spacing, strength)
            wins = inside & (chance > best[box])
            found[box][wins], best[box][wins] = label, chance[wins]
        return found


def _cut(chance: np.ndarray, channel: np.ndarray, spacing: Sequence[float], strength: float) -> np.ndarray:
    """Bool: the side of the source, which voxels of a high ``chance`` belong to."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import breadth_first_order, maximum_flow

    count, known = chance.size, np.clip(chance.reshape(-1), SUREST, 1 - SUREST)
    pull = np.rint(UNIT * np.log(known / (1 - known))).astype(np.int32)
    first, second, weight = _neighbours(channel, spacing, strength)
    voxels, source, sink = np.arange(count), count, count + 1
    rows = np.concatenate([first, second, np.full(count, source), voxels])
    columns = np.concatenate([second, first, voxels, np.full(count, sink)])
    capacity = np.concatenate([weight, weight, np.maximum(pull, 0), np.maximum(-pull, 0)]).astype(np.int32)
    graph = coo_matrix((capacity, (rows, columns)), shape=(count + 2, count + 2)).tocsr()
    left = graph - maximum_flow(graph, source, sink).flow
    left.data = np.maximum(left.data, 0)
    left.eliminate_zeros()
    inside = np.zeros(count + 2, bool)
    inside[breadth_first_order(left, source, return_predecessors=False)] = True
    return inside[:count].reshape(chance.shape)


def _neighbours(
    channel: np.ndarray, spacing: Sequence[float], strength: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of voxels that share a face, and what it costs to part them: less where they differ, or lie far apart."""
    numbers = np.arange(channel.size).reshape(channel.shape)
    steps = [np.diff(channel, axis=axis) for axis in range(channel.ndim)]
    usual = np.mean([np.mean(step**2) for step in steps if step.size] or [1.0])
    first, second, weight = [], [], []
    for axis, step in enumerate(steps):
        size = channel.shape[axis]
        first.append(np.take(numbers, range(size - 1), axis).reshape(-1))
        second.append(np.take(numbers, range(1, size), axis).reshape(-1))
        alike = np.exp(-(step**2) / (2 * max(float(usual), 1e-9))) * (min(spacing) / spacing[axis])
        weight.append(np.rint(UNIT * strength * alike).astype(np.int32).reshape(-1))
    return np.concatenate(first), np.concatenate(second), np.concatenate(weight)
