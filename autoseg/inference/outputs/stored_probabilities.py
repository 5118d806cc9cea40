"""Probabilities in little space, of which ``autoseg select`` makes ensembles (``inference.stored_probabilities``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from ...core.geometry import Geometry
from ...errors import UsageError
from ...task import Task
from ..memory import Need, slab_bytes
from ..prediction import Prediction
from ..readout import Slab
from ..stored_probabilities import CHUNK_VOXELS, ENDING, note_label_map, record_of, storing
from . import Output, OutputContext
from .label_map import Spec as LabelMap

WORKING = 4  # arrays of the size of a slab: logits, probabilities, their codes; and chunks that are not full yet


@dataclass(frozen=True)
class Spec(Output):
    """``probabilities/<case>.b2nd`` and its record ``<case>.json``, which says in the end that the label map is there,
    too. The result is the path of the former."""

    streamed: ClassVar[bool] = True

    def need(self, task: Task, geometry: Geometry, in_file: bool) -> Need:
        return Need(0, WORKING * slab_bytes(task, geometry) + task.labels.heads * CHUNK_VOXELS, 0)

    def files(self, key: str, task: Task) -> tuple[str, ...]:
        name = f"probabilities/{key}{ENDING}"
        return name, record_of(Path(name)).as_posix()

    @contextmanager
    def open(self, context: OutputContext) -> Iterator[_Writer]:
        if context.folder is None:
            raise UsageError("stored probabilities are files, so they are none of an image in memory; "
                             "ask for probabilities")  # fmt: skip
        path, _ = context.paths(self)
        with storing(path, context.record, context.geometry, context.task.labels) as take:
            yield _Writer(path, take)

    def write(self, result: Path, prediction: Prediction) -> None:
        note_label_map(result, prediction.context.paths(LabelMap()))


@dataclass(frozen=True)
class _Writer:
    path: Path
    store: Callable[[slice, Tensor], None]

    def take(self, rows: slice, slab: Slab) -> None:
        self.store(rows, slab.logits())

    def close(self) -> Path:
        return self.path
