"""How far a prediction agrees with itself, label by label: what its Dice is predicted from (``core.dice_line``).

The agreement is 2 sum(p y) / (sum(p) + sum(y)), where y is what is decided of a voxel, 0 or 1, and p its probability:
1 where a model is sure of every voxel. It needs one network or several, and no further pass (soft Dice confidence,
Borges et al. 2024, arXiv:2402.10665). Beside it stands what the folds say to each other (``inference.fold_pairs``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from math import prod
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...core.geometry import Geometry
from ...core.labels import Labels
from ...task import Task
from ..fold_pairs import membership
from ..memory import Need
from ..prediction import Prediction
from ..readout import PIECE_BYTES, PIECE_BYTES_ON_GPU, Slab
from . import Output, OutputContext

WORKING = 6  # arrays of the size of a piece of logits, at most
COMPARING = 32  # bytes per voxel of a patch while folds are compared
SURE = 6.0  # logits: a chance below 1 in 400 is none, as where probabilities are kept in 8 bits


class Agreement(NamedTuple):
    """Of one label in one image."""

    expected_dice: float | None
    """0 to 1; None where no voxel of the label is predicted."""
    fold_dice: float | None
    """Mean Dice of any two folds; None where there is one, or none of them predicts the label."""


@dataclass(frozen=True)
class Spec(Output):
    """The result maps label to ``Agreement``. It has no file of its own: ``predict`` makes one table of all cases."""

    fold_pairs: ClassVar[bool] = True

    def need(self, task: Task, geometry: Geometry, in_file: bool) -> Need:
        return Need(0, WORKING * PIECE_BYTES + COMPARING * prod(task.configuration.patch_size), 0)

    def files(self, key: str, task: Task) -> tuple[str, ...]:
        return ()

    def open(self, context: OutputContext) -> AbstractContextManager[_Writer]:
        return nullcontext(_Writer(context))

    def write(self, result: dict[str, Agreement], prediction: Prediction) -> None:
        pass


class AgreementSums:
    """Over the voxels of one image."""

    def __init__(self, labels: Labels) -> None:
        self._labels = labels
        self._table = None if labels.exclusive else torch.from_numpy(membership(labels))
        self._both, self._chances, self._decided = np.zeros((3, labels.heads))

    def add(self, chances: Tensor, winners: Tensor) -> None:
        """Probabilities (voxels, heads), and what is decided (voxels) as ``Labels.winners`` says it."""
        heads = self._labels.heads
        self._chances += chances.sum(0, dtype=torch.float64).cpu().numpy()
        if self._table is None:
            sure = chances.gather(1, winners[:, None])[:, 0].double().cpu().numpy()
            numbers = winners.cpu().numpy()
            self._decided += np.bincount(numbers, minlength=heads)
            self._both += np.bincount(numbers, sure, heads)
            return
        on = self._table.to(chances.device)[winners]
        self._decided += on.sum(0, dtype=torch.float64).cpu().numpy()
        self._both += (chances * on).sum(0, dtype=torch.float64).cpu().numpy()

    def expected_dice(self) -> dict[str, float | None]:
        """Of every label; None where no voxel of it is decided."""
        sums = zip(self._labels.head_names, self._both, self._chances, self._decided)
        found = {name: 2 * float(both / (chances + decided)) if decided else None
                 for name, both, chances, decided in sums}  # fmt: skip
        return {name: found[name] for name in self._labels.foreground}


class _Writer:
    def __init__(self, context: OutputContext) -> None:
        self._labels, self._pairs = context.task.labels, context.pairs
        self._sums = AgreementSums(self._labels)

    def take(self, rows: slice, slab: Slab) -> None:
        for logits in _parts(slab):
            doubtful = logits[_may_be_foreground(logits, self._labels)]
            if len(doubtful):
                self._sums.add(self._labels.probabilities(doubtful), self._labels.winners(doubtful))

    def close(self) -> dict[str, Agreement]:
        folds = {} if self._pairs is None else self._pairs.dice()
        return {name: Agreement(dice, folds.get(name)) for name, dice in self._sums.expected_dice().items()}


def _parts(slab: Slab) -> Iterator[Tensor]:
    """Logits (voxels, heads) of all voxels, a piece at a time."""
    for piece in slab.pieces():
        most = PIECE_BYTES_ON_GPU if piece.device.type == "cuda" else PIECE_BYTES
        yield from piece.split(max(1, most // (4 * piece.shape[1])))


def _may_be_foreground(logits: Tensor, labels: Labels) -> Tensor:
    """(voxels,) bool: the others, most of an image, are background for sure."""
    if labels.exclusive:
        return logits[:, 1:].amax(1) > logits[:, 0] - SURE
    return logits.amax(1) > -SURE
