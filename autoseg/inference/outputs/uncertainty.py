"""How sure a model is of every voxel: the entropy of its probabilities, and the disagreement of its members.

Both are in bits. One bit of entropy is the toss of a coin between two labels, however many others there are. Members
are the networks of all folds, or samples of their dropout, each on the patch and its mirror images, wherever patches
overlap; of all configurations of an ensemble. Temperatures calibrate the entropy, not the members. Disagreement is
the mutual information between a voxel's label and who predicts it (``inference.entropy`` has formula and source). A
border that everybody blurs alike has entropy and little disagreement; what members see differently has both. For
regions, which overlap, it is the region of which the model is least sure that counts.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np
import torch

from ...core.geometry import Geometry
from ...task import Task
from ..entropy import entropy
from ..memory import Need
from ..prediction import Prediction
from ..readout import PIECE_BYTES, Slab
from ..temperature import calibrated
from . import Output, OutputContext
from ._channels import Channels

KIND = "uint16"
STEP = 0.001  # bits: finer ones are noise, which takes most of a compressed file; 65 bits are more than any labels have
CHANNELS = ("entropy", "disagreement")
WORKING = 8  # arrays of the size of a piece of logits, at most


@dataclass(frozen=True)
class Spec(Output):
    """``uncertainty/<case>.nii.gz``, two channels in bits: entropy and disagreement."""

    disagreement: ClassVar[bool] = True

    def need(self, task: Task, geometry: Geometry, in_file: bool) -> Need:
        whole = len(CHANNELS) * np.dtype(KIND).itemsize * prod(geometry.shape)
        return Need(0, WORKING * PIECE_BYTES + (0 if in_file else whole), 0)

    def files(self, key: str, task: Task) -> tuple[str, ...]:
        return (f"uncertainty/{key}.nii.gz",)

    def open(self, context: OutputContext) -> AbstractContextManager[_Writer]:
        return nullcontext(_Writer(context))

    def write(self, result: Channels, prediction: Prediction) -> None:
        (path,) = prediction.context.paths(self)
        result.write(prediction.context, path)


class _Writer:
    def __init__(self, context: OutputContext) -> None:
        self._labels, self._temperatures = context.task.labels, context.temperatures
        self._found = Channels.empty(CHANNELS, context.geometry.shape, KIND, STEP, context.folder)
        self._inner = context.inner(self._found.stored)  # what was cropped away is sure to be background

    def take(self, rows: slice, slab: Slab) -> None:
        assert slab.disagreement is not None
        parts = (part for piece in slab.pieces() for part in piece.split(max(1, PIECE_BYTES // (4 * piece.shape[1]))))
        entropies = [entropy(calibrated(part, self._labels, self._temperatures), self._labels) for part in parts]
        found = torch.cat(entropies).view(slab.values.shape[:3])
        for channel, values in zip(self._inner, (found, slab.disagreement)):
            channel[rows] = self._found.coded(values.cpu().numpy())
        self._found.release()

    def close(self) -> Channels:
        return self._found
