"""From logits on the file's grid, slab by slab, to the outputs that were asked for."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.clock import Clock
from ..core.geometry import Geometry
from ..core.masks import MaskLabels
from ..errors import UsageError
from .outputs import LABEL_MAP, OutputContext, Outputs
from .readout import Slab


@dataclass(frozen=True)
class Prediction:
    """What a model says about one image, on the grid of its file."""

    context: OutputContext
    results: dict[str, Any]
    """By the name of the output."""

    @property
    def labels(self) -> np.ndarray:
        """(z, y, x), the values of the dataset's own label files, smallest fitting integer type; of masks that may
        overlap their sum, where the first counts 1, the second 2, the third 4, ..."""
        found: np.ndarray = self.results[LABEL_MAP]
        return found

    @property
    def masks(self) -> dict[str, np.ndarray]:
        """Of a model of masks: each by its name, (z, y, x) of 0 and 1. Raises UsageError for other models."""
        labels = self.context.task.labels
        if not isinstance(labels, MaskLabels):
            raise UsageError("this model predicts one label per voxel and no masks: take `labels`")
        return dict(zip(labels.masks, labels.split(self.labels)))

    @property
    def array(self) -> np.ndarray:
        """``labels``, or of a model of masks all of them, (masks, z, y, x)."""
        return np.stack([*self.masks.values()]) if isinstance(self.context.task.labels, MaskLabels) else self.labels

    @property
    def geometry(self) -> Geometry:
        return self.context.geometry


def write_outputs(
    slabs: Iterable[tuple[slice, Slab]], context: OutputContext, outputs: Outputs, clock: Clock | None = None
) -> Prediction:
    """Shows ``slabs`` to all outputs; nothing is corrected.

    ``slabs`` are consecutive ranges of slices and their logits, resampled to the file's voxels already. What is done
    here counts as "resample"; computing the slabs may count as something else.
    """
    with ExitStack() as stack:
        writers = {name: stack.enter_context(output.open(context)) for name, output in outputs.items()}
        with (clock or Clock()).stage("resample"):
            for rows, slab in slabs:
                for writer in writers.values():
                    writer.take(rows, slab)
        results = {name: writer.close() for name, writer in writers.items()}
    return Prediction(context, results)
