"""The probability of every label, or region, in every voxel of the file."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from math import prod

import numpy as np

from ...core.geometry import Geometry
from ...errors import UsageError
from ...task import Task
from ..memory import Need, slab_bytes
from ..prediction import Prediction
from ..readout import Slab
from ..temperature import calibrated
from . import Output, OutputContext
from ._channels import Channels

KINDS = ("uint8", "uint16", "float32")
ENDING = ".nii.gz"  # holds channels of any type, whatever the images were
WORKING = 4  # arrays of the size of a slab: logits, probabilities, and what is stored of them


@dataclass(frozen=True)
class Spec(Output):
    """``probabilities/<case>.nii.gz``: one channel per label, background first and all together one, or per region,
    each on its own. They are those before the label map is corrected, calibrated where that is asked for."""

    kind: str = "uint8"
    """Of the numbers in the file."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"probabilities {self.kind!r:.100} are unknown; choose one of {', '.join(KINDS)}")

    def need(self, task: Task, geometry: Geometry, in_file: bool) -> Need:
        whole = np.dtype(self.kind).itemsize * task.labels.heads * prod(geometry.shape)
        return Need(0, WORKING * slab_bytes(task, geometry) + (0 if in_file else whole), 0)

    def files(self, key: str, task: Task) -> tuple[str, ...]:
        return (f"probabilities/{key}{ENDING}",)

    def open(self, context: OutputContext) -> AbstractContextManager[_Writer]:
        return nullcontext(_Writer(context, self.kind))

    def write(self, result: Channels, prediction: Prediction) -> None:
        (path,) = prediction.context.paths(self)
        result.write(prediction.context, path)


class _Writer:
    def __init__(self, context: OutputContext, kind: str) -> None:
        self._labels, self._temperatures = context.task.labels, context.temperatures
        step = 1 / np.iinfo(kind).max if np.dtype(kind).kind == "u" else 1.0
        self._found = Channels.empty(list(self._labels.head_names), context.geometry.shape, kind, step, context.folder)
        if self._labels.exclusive:
            self._found.stored[0] = round(1 / self._found.scale)  # what was cropped away is certainly background
            self._found.release()
        self._inner = context.inner(self._found.stored)

    def take(self, rows: slice, slab: Slab) -> None:
        for z, logits in zip(range(rows.start, rows.stop), slab.logits()):
            chances = self._labels.probabilities(calibrated(logits, self._labels, self._temperatures))
            self._inner[:, z] = self._found.coded(chances.movedim(-1, 0).cpu().numpy())
        self._found.release()

    def close(self) -> Channels:
        return self._found
