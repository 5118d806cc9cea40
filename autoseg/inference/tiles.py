"""Where the patches lie and how much each counts, voxel by voxel.

Patches overlap and each counts most at its centre. The weight is a product of one Gaussian per axis and the patches
form a regular grid, so it is normalised per axis beforehand: the weights of all patches at a voxel sum to one, and a
sum over patches needs no second volume to be divided by.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from ..core.geometry import Box
from .options import STEP

SIGMA = 1 / 8  # of the patch, as nnU-Net v2 2.8.1

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Tile:
    """One patch of the image: where it lies and how much it counts there, as one weight vector per axis."""

    box: Box
    weights: tuple[np.ndarray, np.ndarray, np.ndarray]


def starts(size: int, patch: int, step: float = STEP) -> list[int]:
    """First voxels of the patches along one axis: evenly spread, at most ``step`` patches apart."""
    last = size - patch
    steps = int(np.ceil(last / max(1.0, patch * step)))
    return [int(np.round(last * number / steps)) for number in range(steps + 1)] if steps else [0]


def axis_weights(size: int, patch: int, step: float = STEP) -> list[np.ndarray]:
    """Per patch along one axis, its ``patch`` weights (float32); at every voxel the weights of all patches sum to 1."""
    distance = np.arange(patch) - patch // 2
    gaussian = np.exp(-0.5 * (distance / (patch * SIGMA)) ** 2)
    total = np.zeros(size)
    for start in starts(size, patch, step):
        total[start : start + patch] += gaussian
    return [(gaussian / total[start : start + patch]).astype(np.float32) for start in starts(size, patch, step)]


def tiles(shape: Shape, patch: Shape, step: float = STEP) -> list[Tile]:
    """The patches that cover an image of at least the patch's size, in (z, y, x) order."""
    axes = [list(zip(starts(n, p, step), axis_weights(n, p, step))) for n, p in zip(shape, patch)]
    return [
        Tile(Box((z, y, x), (z + patch[0], y + patch[1], x + patch[2])), (wz, wy, wx))
        for (z, wz), (y, wy), (x, wx) in product(*axes)
    ]
