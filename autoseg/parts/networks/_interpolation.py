"""Linear interpolation of feature maps and means over bins, one axis after the other, each by a small matrix.

Torch's own interpolation and adaptive pooling have gradients on a GPU that are not deterministic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor


def resized(maps: Tensor, size: Sequence[int]) -> Tensor:
    """``maps`` (B, channels, *old) to (B, channels, *size), in the precision in which they come.

    Values are those of ``torch.nn.functional.interpolate`` in mode bilinear or trilinear with ``align_corners=False``:
    voxel centres lie where they lay, borders go on.
    """
    return _along_axes(maps, size, matrix)


def in_bins(maps: Tensor, bins: Sequence[int]) -> Tensor:
    """``maps`` (B, channels, *size) to (B, channels, *bins): means, as of torch's adaptive average pooling."""
    return _along_axes(maps, bins, means)


def _along_axes(maps: Tensor, size: Sequence[int], made: Callable[[int, int, torch.device | None], Tensor]) -> Tensor:
    known = torch.amp.is_autocast_available(maps.device.type)  # not for tensors without values
    with torch.autocast(maps.device.type, enabled=False) if known else nullcontext():
        for axis, new in enumerate(size, start=2):
            if maps.shape[axis] != new:
                weights = made(maps.shape[axis], new, maps.device).to(maps.dtype)
                maps = torch.tensordot(maps, weights, ([axis], [1])).movedim(-1, axis)
    return maps


def matrix(old: int, new: int, device: torch.device | None = None) -> Tensor:
    """(new, old): a new voxel between two old ones takes of each the more, the nearer it is."""
    centres = ((torch.arange(new, device=device) + 0.5) * (old / new) - 0.5).clamp(0, old - 1)
    distances = (centres[:, None] - torch.arange(old, device=device)).abs()
    return (1 - distances).clamp(min=0)


def means(voxels: int, bins: int, device: torch.device | None = None) -> Tensor:
    """(bins, voxels); neighbouring bins share a voxel where they are not of equal size."""
    place, voxel = torch.arange(bins, device=device)[:, None], torch.arange(voxels, device=device)
    first, stop = place * voxels // bins, ((place + 1) * voxels + bins - 1) // bins
    return ((first <= voxel) & (voxel < stop)) / (stop - first)
