"""The label map: for every voxel the value, one of the user's, of its label or of the last region that is painted; of
masks, which are written one by one, all that are on."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch

from ...data.label_maps import file_names, write_label_map
from ...task import Task
from ..prediction import Prediction
from ..readout import Slab
from . import Output, OutputContext


@dataclass(frozen=True)
class Spec(Output):
    """``<case><ending>``, or ``<case>_<mask><ending>`` for every mask. Its memory is counted with the networks: each
    stage of a cascade makes one."""

    def files(self, key: str, task: Task) -> tuple[str, ...]:
        return file_names(key, task.file_ending, task.labels)

    def open(self, context: OutputContext) -> AbstractContextManager[_Writer]:
        return nullcontext(_Writer(context))

    def write(self, result: np.ndarray, prediction: Prediction) -> None:
        context = prediction.context
        write_label_map(result, context.geometry, context.paths(self), context.task.labels, like=context.image)


class _Writer:
    def __init__(self, context: OutputContext) -> None:
        self._labels = context.task.labels
        written = self._labels.written
        self._decided = np.full(context.geometry.shape, written[0], written.dtype)
        self._inner = context.inner(self._decided)

    def take(self, rows: slice, slab: Slab) -> None:
        found = torch.cat([self._labels.winners(piece) for piece in slab.pieces()]).view(slab.values.shape[:3])
        self._inner[rows] = self._labels.written[found.cpu().numpy()]

    def close(self) -> np.ndarray:
        """(z, y, x), not corrected."""
        return self._decided
