"""Means over bins of feature maps, and back to voxels: products with small matrices, one along each axis.

Torch's own adaptive pooling and interpolation have gradients on a GPU that are not deterministic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Rows = list[list[float]]


def in_bins(maps: Tensor, bins: Sequence[int]) -> Tensor:
    """(B, channels, *size) to (B, channels, *bins), means as of torch's adaptive average pooling."""
    return _along_axes(maps, bins, _means)


def to_voxels(maps: Tensor, size: Sequence[int]) -> Tensor:
    """(B, channels, *bins) to (B, channels, *size), linearly between the centres, as torch without aligned corners."""
    return _along_axes(maps, size, _between)


def _along_axes(maps: Tensor, size: Sequence[int], rows: Callable[[int, int], Rows]) -> Tensor:
    for axis, new in enumerate(size, start=2):
        if (old := maps.shape[axis]) != new:
            matrix = torch.tensor(rows(old, new), dtype=maps.dtype, device=maps.device)
            maps = (maps.movedim(axis, -1) @ matrix.T).movedim(-1, axis)
    return maps


def _means(voxels: int, bins: int) -> Rows:
    """(bins, voxels); neighbouring bins share a voxel where they are not of equal size."""
    found = []
    for place in range(bins):
        first, stop = place * voxels // bins, -(-(place + 1) * voxels // bins)
        found.append([1 / (stop - first) if first <= voxel < stop else 0.0 for voxel in range(voxels)])
    return found


def _between(bins: int, voxels: int) -> Rows:
    """(voxels, bins); beyond the outer centres the outer value."""
    found = []
    for voxel in range(voxels):
        place = min(max((voxel + 0.5) * bins / voxels - 0.5, 0.0), bins - 1.0)
        found.append([max(0.0, 1 - abs(place - index)) for index in range(bins)])
    return found
