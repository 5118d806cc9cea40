"""Volumes as batches of slices, and back."""

from __future__ import annotations

import torch
from torch import Tensor


def slices_of(volumes: Tensor) -> Tensor:
    """(B, channels, z, y, x) to (B * z, channels, y, x)."""
    return volumes.transpose(1, 2).flatten(0, 1)


def volumes_of(slices: Tensor, depth: int) -> Tensor:
    """(B * z, channels, y, x) to (B, channels, z, y, x), which may be a view."""
    return slices.unflatten(0, (-1, depth)).transpose(1, 2)


def with_neighbours(volumes: Tensor) -> Tensor:
    """(B, 3 * channels, z, y, x): of each slice the one before, itself and the one after; the ends are repeated."""
    before = torch.cat((volumes[:, :, :1], volumes[:, :, :-1]), 2)
    after = torch.cat((volumes[:, :, 1:], volumes[:, :, -1:]), 2)
    return torch.cat((before, volumes, after), 1)
