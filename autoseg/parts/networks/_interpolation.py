"""Linear interpolation of feature maps, one axis after the other, each by a small matrix.

torch's own has no deterministic gradient on a GPU. Values are those of ``torch.nn.functional.interpolate`` in mode
bilinear or trilinear with ``align_corners=False``: voxel centres lie where they lay, borders go on.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def resized(maps: Tensor, size: Sequence[int]) -> Tensor:
    """``maps`` (B, channels, *old) to (B, channels, *size), in the precision in which they come."""
    with torch.autocast(maps.device.type, enabled=False):
        for axis, new in enumerate(size, start=2):
            if maps.shape[axis] != new:
                weights = matrix(maps.shape[axis], new, maps.device).to(maps.dtype)
                maps = torch.tensordot(maps, weights, ([axis], [1])).movedim(-1, axis)
    return maps


def matrix(old: int, new: int, device: torch.device | None = None) -> Tensor:
    """(new, old): a new voxel between two old ones takes of each the more, the nearer it is."""
    centres = ((torch.arange(new, device=device) + 0.5) * (old / new) - 0.5).clamp(0, old - 1)
    distances = (centres[:, None] - torch.arange(old, device=device)).abs()
    return (1 - distances).clamp(min=0)
