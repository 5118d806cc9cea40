"""Spline interpolation as one small matrix per axis.

Zooming with a spline (prefilter and edge rule included) is linear and separable, so resampling a volume is three
matrix products. A cubic row holds the cardinal spline, which decays like ``|sqrt(3) - 2| ** distance``: beyond
``REACH`` voxels it is below float32 rounding and is left out, which makes the matrices banded.

Voxels are cells (the corners of the volume stay where they are) and beyond the border the last voxel repeats.
That equals ``scipy.ndimage.zoom(grid_mode=True, mode="nearest")`` and ``skimage.transform.resize(mode="edge")``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

REACH = 16  # 0.268 ** 16 = 7e-10
POLE = np.sqrt(3.0) - 2.0  # of the cubic B-spline's inverse filter (Unser et al. 1991)
ROWS_PER_BLOCK = 128  # long axes: rows computed together; they share about this many columns
ORDERS = (0, 1, 3)


@dataclass(frozen=True)
class Block:
    """Consecutive output voxels and the only input voxels they depend on."""

    rows: slice
    columns: slice
    weights: np.ndarray
    """float32, (rows, columns)."""


@lru_cache(maxsize=128)
def blocks(voxels_in: int, voxels_out: int, order: int) -> tuple[Block, ...]:
    """The matrix from ``voxels_in`` to ``voxels_out``, without its zeros far from the diagonal."""
    indices, weights = _taps(voxels_in, voxels_out, order)
    step = voxels_out if voxels_in <= 2 * ROWS_PER_BLOCK else ROWS_PER_BLOCK
    found = []
    for start in range(0, voxels_out, step):
        rows = slice(start, min(start + step, voxels_out))
        first, last = int(indices[rows].min()), int(indices[rows].max())
        matrix = np.zeros((rows.stop - rows.start, last + 1 - first))
        row_numbers = np.arange(rows.stop - rows.start)[:, None]
        np.add.at(matrix, (row_numbers, indices[rows] - first), weights[rows])
        matrix = matrix.astype(np.float32)
        matrix.setflags(write=False)  # cached and shared
        found.append(Block(rows, slice(first, last + 1), matrix))
    return tuple(found)


@lru_cache(maxsize=32)
def dense(voxels_in: int, voxels_out: int, order: int) -> np.ndarray:
    """The whole matrix, float32, (voxels_out, voxels_in), read-only."""
    matrix = np.zeros((voxels_out, voxels_in), np.float32)
    for block in blocks(voxels_in, voxels_out, order):
        matrix[block.rows, block.columns] = block.weights
    matrix.setflags(write=False)
    return matrix


@lru_cache(maxsize=128)
def nearest(voxels_in: int, voxels_out: int) -> np.ndarray:
    """The input voxel nearest to each output voxel, int, (voxels_out,)."""
    indices, _ = _taps(voxels_in, voxels_out, 0)
    return indices[:, 0]


def resize_axis(array: np.ndarray, axis: int, voxels: int, order: int) -> np.ndarray:
    """``array`` (float32) with ``voxels`` voxels along ``axis``; the array itself where nothing changes."""
    if array.shape[axis] == voxels:
        return array
    if order == 0:
        return np.take(array, nearest(array.shape[axis], voxels), axis=axis)
    parts = blocks(array.shape[axis], voxels, order)
    before, after = array.shape[:axis], array.shape[axis + 1 :]
    resized = np.empty((*before, voxels, *after), np.float32)
    if not after:
        for block in parts:
            resized[..., block.rows] = array[..., block.columns] @ block.weights.T
        return resized
    inner = int(np.prod(after))
    source, target = array.reshape(*before, array.shape[axis], inner), resized.reshape(*before, voxels, inner)
    for block in parts:
        np.matmul(block.weights, source[..., block.columns, :], out=target[..., block.rows, :])
    return resized


def resize(array: np.ndarray, shape: tuple[int, int, int], order: int) -> np.ndarray:
    """``array`` (..., z, y, x) float32 at ``shape``; axes that shrink most go first, which makes the rest cheaper."""
    axes = sorted(range(3), key=lambda axis: shape[axis] / array.shape[array.ndim - 3 + axis])
    for axis in axes:
        array = resize_axis(array, array.ndim - 3 + axis, shape[axis], order)
    return array


def _taps(voxels_in: int, voxels_out: int, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Input voxels and their weights for every output voxel, both (voxels_out, taps)."""
    if order not in ORDERS:
        raise ValueError(f"spline order must be one of {ORDERS}, found {order}")
    position = (np.arange(voxels_out) + 0.5) * (voxels_in / voxels_out) - 0.5
    if order == 0:
        indices = np.floor(position + 0.5).astype(np.int64)[:, None]
        weights = np.ones(indices.shape)
    elif order == 1:
        indices = np.floor(position).astype(np.int64)[:, None] + np.arange(2)
        weights = 1.0 - np.abs(position[:, None] - indices)
    else:
        indices = np.floor(position).astype(np.int64)[:, None] + np.arange(1 - REACH, REACH + 1)
        weights = _cardinal_cubic(position[:, None] - indices)
    return np.clip(indices, 0, voxels_in - 1), weights


def _cardinal_cubic(distance: np.ndarray) -> np.ndarray:
    """The cubic spline that is 1 at 0 and 0 at every other integer."""
    nearest_knot = np.floor(distance)
    value = np.zeros(distance.shape)
    for offset in (-1, 0, 1, 2):  # the four B-splines that reach a point
        knot = nearest_knot + offset
        value += np.sqrt(3.0) * POLE ** np.abs(knot) * _cubic_b_spline(distance - knot)
    return value


def _cubic_b_spline(distance: np.ndarray) -> np.ndarray:
    x = np.abs(distance)
    return np.where(x < 1, 2 / 3 - x**2 + x**3 / 2, np.clip(2 - x, 0, None) ** 3 / 6)
