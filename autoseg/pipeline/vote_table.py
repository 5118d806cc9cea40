"""How often which decisions of several configurations occur together with which truth in a case: all that the scores of
STAPLE need of it, whichever of the configurations it combines."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import torch

from ..core.labels import Labels
from ..core.masks import MaskLabels
from ..core.staple import Staple, decision_type
from ..evaluation.counts import overlaps

DIRECT = 1 << 20  # combinations that are counted without sorting
SMALL = 256


class VoteTable:
    """Of one case."""

    def __init__(self, names: Sequence[str], labels: Labels) -> None:
        self.names, self.labels = tuple(names), labels
        self._parts: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, votes: np.ndarray, truth: np.ndarray) -> None:
        """Decisions (configurations, voxels) and label indices (voxels,)."""
        same = (votes == votes[0]).all(0)
        agreed, counts = counted(np.stack((votes[0][same], truth[same])))
        self._parts.append((agreed[[0] * len(votes) + [1]], counts))
        self._parts.append(counted(np.concatenate((votes[:, ~same], truth[None, ~same]))))

    def overlaps(self, members: Sequence[str]) -> np.ndarray:
        """As ``counts.overlaps``, of what STAPLE of these ``members`` decides; a single one decides alone."""
        rows, counts = (np.concatenate(each, -1) for each in zip(*self._parts))
        kind = decision_type(self.labels.heads, self.labels.exclusive)
        votes = rows[[self.names.index(name) for name in members]].astype(kind)
        chances = _certain(votes[0], self.labels)
        if len(members) > 1:
            staple = Staple(len(members), self.labels.heads, self.labels.exclusive)
            staple.add(votes, counts)
            staple.estimate()
            chances = staple.chances(votes)
        return overlaps(decided_by(chances, self.labels), rows[-1], self.labels, counts)


def votes_of(codes: torch.Tensor, one: int, labels: Labels) -> np.ndarray:
    """What ``core.staple`` calls a decision, from the codes (heads, ...) of probabilities, ``one`` being certainty."""
    kind = decision_type(labels.heads, labels.exclusive)
    if labels.exclusive:
        return labels.winners(codes.to(torch.int32), 0).numpy().astype(kind)
    on = (codes > one // 2).numpy()
    found = np.zeros(on.shape[1:], kind)
    for bit, of_head in enumerate(on):
        found |= of_head.astype(kind) << kind.type(bit)
    return found


def decided_by(chances: np.ndarray, labels: Labels) -> np.ndarray:
    """Label indices (voxels,) from probabilities (heads, voxels)."""
    found: np.ndarray = indices_of(labels.winners(torch.from_numpy(chances) - 0.5, 0), labels).numpy()
    return found  # above one half a region or mask is on


def indices_of(found: torch.Tensor, labels: Labels) -> torch.Tensor:
    """Label indices from indices of what is written."""
    if isinstance(labels, MaskLabels):  # what is written are indices
        return found
    written = torch.tensor([labels.values.index(value) for value in labels.written.tolist()])
    return written[found]


def _certain(votes: np.ndarray, labels: Labels) -> np.ndarray:
    """Probabilities (heads, voxels) of one configuration's decisions: 0 and 1."""
    heads = np.arange(labels.heads)[:, None]
    on = votes == heads if labels.exclusive else votes.astype(np.int64) >> heads & 1
    return on.astype(np.float32)


def counted(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The columns of (rows, n) that occur, (rows, different), int64, and how often each does."""
    known, coded = [], []
    for row in columns.astype(np.int64):
        small = row.size == 0 or row.max() < SMALL
        values, code = (np.arange(SMALL), row) if small else np.unique(row, return_inverse=True)
        known.append(values)
        coded.append(code.reshape(-1))
    sizes = [int(code.max()) + 1 if code.size else 1 for code in coded]
    if prod(sizes) <= DIRECT:
        counts = np.bincount(np.ravel_multi_index(coded, sizes), minlength=1)
        (there,) = np.nonzero(counts)
        different, counts = np.stack(np.unravel_index(there, sizes)), counts[there]
    else:
        different, counts = np.unique(np.stack(coded), axis=1, return_counts=True)
    return np.stack([values[code] for values, code in zip(known, different)]), counts
