"""Logits on the file's grid, slab by slab, from logits on the network's grid that are read front to back.

Resampling to the file's grid is one matrix product per axis, so any range of output slices can be computed by itself:
the logits of all heads never exist at full size, whatever the number of labels. Arrays are (z, y, x, values).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ..preprocessing.spatial import Resample
from .readout import Readout, Slab

SLAB_BYTES = 1 << 26  # of logits and intermediate products; larger slabs are slower, they fall out of the caches

Shape = tuple[int, int, int]
Matrices = tuple[np.ndarray, np.ndarray, np.ndarray]


class Logits(Protocol):
    """What a network said about an image, on its own grid."""

    heads: int
    readout: Readout | None
    """What makes logits of the values that are read; None: they are logits."""
    shape: Shape
    """(z, y, x)."""

    @property
    def disagreement(self) -> Callable[[int, int], Tensor] | None:
        """Bits (z, y, x) of slices that were read last; None where it was not asked for."""
        ...

    def read(self, start: int, stop: int) -> Tensor:
        """Slices ``start`` to ``stop``, (z, y, x, values) float32. ``start`` never decreases from call to call."""
        ...


def resampled_slabs(
    logits: Logits, resampling: Resample, resampler: Any, slab_bytes: int | None = None
) -> Iterator[tuple[slice, Slab]]:
    """The logits before ``resampling`` was applied, as consecutive ranges of slices along the first axis."""
    order = resampler.order_logits
    separate = resampler.separate_axis(resampling.new_spacing, resampling.spacing)
    matrices = resampler.matrices(logits.shape, resampling.shape, order, separate)
    clip = _range(logits, matrices, separate) if needs_whole(resampling, resampler) else None
    for rows in ranges(logits, resampling.shape, slab_bytes or SLAB_BYTES):
        slab = _in_plane(_along_z(matrices[0][rows], logits.read), matrices[1], matrices[2])
        if clip is not None:
            low, high = (bound[rows] if separate == 0 else bound for bound in clip)
            slab = slab.clamp(low, high)
        beside = None if logits.disagreement is None else _disagreement(logits.disagreement, matrices, rows)
        yield rows, Slab(slab, logits.readout, beside)


def needs_whole(resampling: Resample, resampler: Any) -> bool:
    """Whether all logits must be known before the first slice can be resampled: cubic splines are clipped to their
    range."""
    return bool(resampler.order_logits > 1) and resampling.shape != resampling.new_shape


def ranges(logits: Logits, shape: Shape, slab_bytes: int) -> Iterator[slice]:
    """Slices of an output of ``shape`` that fit into ``slab_bytes``, before and after resampling in the plane."""
    (_, y, x), (slices, new_y, new_x) = logits.shape, shape
    thickness = max(1, slab_bytes // (4 * logits.heads * (y * x + new_y * new_x)))
    for start in range(0, slices, thickness):
        yield slice(start, min(start + thickness, slices))


def _disagreement(read: Callable[[int, int], Tensor], matrices: Matrices, rows: slice) -> Tensor:
    """Resampled as a number of its own: probabilities that are mixed at a border are no disagreement."""
    z, y, x = matrices
    found = _in_plane(_along_z(z[rows], lambda start, stop: read(start, stop).unsqueeze(-1)), y, x)
    return found.squeeze(-1).clamp_min(0)  # cubic splines may leave the range


def _along_z(matrix: np.ndarray, read: Callable[[int, int], Tensor]) -> Tensor:
    """Output slices that are not resampled in the plane yet; reads only the input slices that they depend on."""
    (touched,) = np.nonzero(matrix.any(axis=0))
    first, last = int(touched[0]), int(touched[-1]) + 1
    return _product(matrix[:, first:last], read(first, last), 0)


def _in_plane(slab: Tensor, y: np.ndarray, x: np.ndarray) -> Tensor:
    if _is_linear(y) and _is_linear(x) and slab.shape[1:3] != (len(y), len(x)):
        # torch's own interpolation is the same product of matrices, several times faster
        heads_first = interpolate(slab.movedim(-1, 1), (len(y), len(x)), mode="bilinear", align_corners=False)
        return heads_first.movedim(1, -1)
    for matrix, axis in sorted(((y, 1), (x, 2)), key=lambda step: step[0].shape[0] / step[0].shape[1]):
        slab = _product(matrix, slab, axis)  # shrinking axes first
    return slab


def _product(matrix: np.ndarray, array: Tensor, axis: int) -> Tensor:
    """``matrix`` applied along ``axis`` of (z, y, x, values)."""
    if matrix.shape[0] == matrix.shape[1] and np.array_equal(matrix, np.eye(len(matrix), dtype=matrix.dtype)):
        return array
    weights = torch.tensor(matrix, device=array.device)
    return (weights @ array.flatten(axis + 1)).unflatten(-1, array.shape[axis + 1 :])  # what follows lies side by side


def _is_linear(matrix: np.ndarray) -> bool:
    """Whether this is linear interpolation between the centres of cells, the last one repeated beyond the border."""
    rows, columns = matrix.shape
    position = ((np.arange(rows) + 0.5) * (columns / rows) - 0.5).clip(0, columns - 1)
    distance = np.abs(position[:, None] - np.arange(columns))
    return np.allclose(matrix, (1 - distance).clip(0), atol=1e-6)


def _range(logits: Logits, matrices: Matrices, separate: int | None) -> tuple[Tensor, Tensor]:
    """What cubic splines may not exceed: the range of each head, or of each of its slices where those stand alone."""
    together = tuple(axis for axis in range(3) if axis != separate)
    whole = logits.read(0, logits.shape[0])
    low, high = whole.amin(together, keepdim=True), whole.amax(together, keepdim=True)
    if separate is None:
        return low, high
    return _product(matrices[separate], low, separate), _product(matrices[separate], high, separate)
