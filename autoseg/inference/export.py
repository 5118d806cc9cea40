"""From logits on the network's grid to a label map on the file's grid, slab by slab.

Resampling to the file's grid is one matrix product per axis, so any range of output slices can be computed by itself
and decided at once: the logits of all heads never exist at full size, whatever the number of labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..core.geometry import Geometry
from ..core.labels import Labels, RegionLabels
from ..preprocessing.spatial import Resample, SpatialRecord

SLAB_BYTES = 1 << 26  # bytes of logits and intermediate products; larger slabs are slower, they fall out of the caches
COPIES = 3  # a slab, its predecessor and its successor in the chain of products

Clip = tuple[torch.Tensor, torch.Tensor]
Watch = Callable[[slice, torch.Tensor], None]
"""Is shown the logits (heads, rows, y, x) of every range of slices, in order, before they are forgotten."""


@dataclass(frozen=True)
class Prediction:
    """What a model says about one image, on the grid of its file."""

    labels: np.ndarray
    """(z, y, x), the values of the dataset's own label files, smallest fitting integer type."""
    geometry: Geometry
    probabilities: np.ndarray | None = None
    """float32, (heads, z, y, x), or None when not asked for. Heads are in the order of the labels (background first)
    and sum to one, or of the regions, each on its own."""


def export(
    logits: torch.Tensor,
    record: SpatialRecord,
    geometry: Geometry,
    *,
    labels: Labels,
    resampler: Any,
    probabilities: bool = False,
    watch: Watch | None = None,
    slab_bytes: int = SLAB_BYTES,
) -> Prediction:
    """Undoes ``record`` for ``logits`` (heads, z, y, x), float32, and decides every voxel.

    Voxels that were cropped away are background. ``slab_bytes`` bounds the memory besides input and result.
    """
    before, resampling = record.split()
    empty = labels.decode(np.zeros((labels.heads, 1), np.float32))
    decided = np.full(geometry.shape, labels.values[0], empty.dtype)
    chances = _no_foreground(labels, geometry) if probabilities else None
    # Transposing and cropping are views, so what is written to the inner part lands at its place in the whole.
    inner = before.apply(decided, resampler.resample_labels)
    inner_chances = None if chances is None else before.apply(chances, resampler.resample_labels)
    for rows, slab in resampled_slabs(logits, resampling, resampler, slab_bytes):
        inner[rows] = labels.decode(slab.cpu().numpy())
        if watch is not None:
            watch(rows, slab)
        if inner_chances is not None:
            inner_chances[:, rows] = _probabilities(slab, labels).cpu().numpy()
    return Prediction(decided, geometry, chances)


def resampled_slabs(
    logits: torch.Tensor, resampling: Resample, resampler: Any, slab_bytes: int = SLAB_BYTES
) -> Iterator[tuple[slice, torch.Tensor]]:
    """The logits before ``resampling`` was applied, as consecutive ranges of slices along the first axis."""
    shape, order = resampling.shape, resampler.order_logits
    separate = resampler.separate_axis(resampling.new_spacing, resampling.spacing)
    matrices = resampler.matrices(logits.shape[1:], shape, order, separate)
    clip = _range(logits, matrices, separate) if order > 1 else None
    per_slice = 4 * COPIES * logits.shape[0] * max(shape[1], logits.shape[2]) * max(shape[2], logits.shape[3])
    thickness = max(1, slab_bytes // per_slice)
    for start in range(0, shape[0], thickness):
        rows = slice(start, min(start + thickness, shape[0]))
        slab = _slab(logits, matrices, rows)
        if clip is not None:
            low, high = (bound[:, rows] if separate == 0 else bound for bound in clip)
            slab = slab.clamp(low, high)
        yield rows, slab


def _slab(logits: torch.Tensor, matrices: tuple[np.ndarray, np.ndarray, np.ndarray], rows: slice) -> torch.Tensor:
    """Output slices ``rows``; reads only the input slices that they depend on."""
    along_z = matrices[0][rows]
    (touched,) = np.nonzero(along_z.any(axis=0))
    columns = slice(int(touched[0]), int(touched[-1]) + 1)
    slab = logits[:, columns]
    steps = dict(enumerate((along_z[:, columns], *matrices[1:])))
    for axis in sorted(steps, key=lambda axis: steps[axis].shape[0] / steps[axis].shape[1]):  # shrinking axes first
        slab = _product(steps[axis], slab, axis)
    return slab


def _product(matrix: np.ndarray, array: torch.Tensor, axis: int) -> torch.Tensor:
    """``matrix`` applied along spatial axis ``axis`` of (heads, z, y, x)."""
    if matrix.shape[0] == matrix.shape[1] and np.array_equal(matrix, np.eye(len(matrix), dtype=matrix.dtype)):
        return array
    weights = torch.tensor(matrix, device=array.device)
    if axis == 2:
        return array @ weights.T
    if axis == 1:
        return weights @ array
    return (weights @ array.flatten(2)).unflatten(2, array.shape[2:])


def _range(logits: torch.Tensor, matrices: tuple[np.ndarray, ...], separate: int | None) -> Clip:
    """What cubic splines may not exceed: the range of each head, or of each of its slices where those stand alone."""
    together = tuple(axis + 1 for axis in range(3) if axis != separate)
    low, high = logits.amin(together, keepdim=True), logits.amax(together, keepdim=True)
    if separate is None:
        return low, high
    return _product(matrices[separate], low, separate), _product(matrices[separate], high, separate)


def _probabilities(slab: torch.Tensor, labels: Labels) -> torch.Tensor:
    return slab.sigmoid() if isinstance(labels, RegionLabels) else slab.softmax(0)


def _no_foreground(labels: Labels, geometry: Geometry) -> np.ndarray:
    """Probabilities of voxels that were cropped away: certainly background."""
    chances = np.zeros((labels.heads, *geometry.shape), np.float32)
    if not isinstance(labels, RegionLabels):
        chances[0] = 1
    return chances
