"""From logits on the network's grid to a label map on the file's grid, slab by slab."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..core.clock import Clock
from ..core.geometry import Geometry
from ..core.labels import Labels, RegionLabels
from ..preprocessing.spatial import SpatialRecord, not_resampled
from .probabilities import Probabilities
from .readout import Slab

Watch = Callable[[slice, Tensor], None]
"""Is shown the logits (rows, y, x, heads) of every range of slices, in order, before they are forgotten."""


@dataclass(frozen=True)
class Prediction:
    """What a model says about one image, on the grid of its file."""

    labels: np.ndarray
    """(z, y, x), the values of the dataset's own label files, smallest fitting integer type."""
    geometry: Geometry
    probabilities: Probabilities | None = None
    """None when not asked for."""


def export(
    slabs: Iterable[tuple[slice, Slab]],
    record: SpatialRecord,
    geometry: Geometry,
    *,
    labels: Labels,
    probabilities: Probabilities | None = None,
    watch: Watch | None = None,
    clock: Clock | None = None,
) -> Prediction:
    """Decides every voxel of ``slabs`` and undoes the rest of ``record``; fills ``probabilities`` where given.

    ``slabs`` are consecutive ranges of slices and their logits, resampled to the file's voxels
    already. Voxels that were cropped away are background. What is done here counts as "resample"; computing the slabs
    may count as something else.
    """
    before, _ = record.split()
    decided = np.full(geometry.shape, labels.written[0], labels.written.dtype)
    # Transposing and cropping are views, so what is written to the inner part lands at its place in the whole.
    inner = before.apply(decided, not_resampled)
    inner_chances = before.apply(probabilities.stored, not_resampled) if probabilities else None
    with (clock or Clock()).stage("resample"):
        for rows, slab in slabs:
            inner[rows] = labels.written[_winners_of(slab, labels).cpu().numpy()]
            if watch is not None:
                watch(rows, slab.logits())
            if probabilities and inner_chances is not None:
                inner_chances[:, rows] = probabilities.quantised(slab.logits(), labels)
                probabilities.release()
    return Prediction(decided, geometry, probabilities)


def _winners_of(slab: Slab, labels: Labels) -> Tensor:
    """(z, y, x) indices into ``labels.written``."""
    return torch.cat([winners(piece, labels) for piece in slab.pieces()]).view(slab.values.shape[:3])


def winners(logits: Tensor, labels: Labels) -> Tensor:
    """For every voxel of (..., heads) the index into ``labels.written``."""
    if isinstance(labels, RegionLabels):  # each region paints over the ones before it
        order = torch.arange(1, labels.heads + 1, device=logits.device)
        return ((logits > 0) * order).amax(-1)  # sigmoid(logit) > 0.5
    return logits.argmax(-1)
