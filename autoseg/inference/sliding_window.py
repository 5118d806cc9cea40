"""Logits of a whole image from a network that sees one patch at a time.

Patches overlap by half and each counts most at its centre. The weight is a product of one Gaussian per axis and the
patches form a regular grid, so it is normalised per axis beforehand: the weights of all patches at a voxel sum to one
and the accumulator holds the result, without a second volume to divide by.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product

import numpy as np
import torch
from torch import nn

from ..core.geometry import Box
from ..settings import Resolved
from .mirroring import mean_logits
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


def tiles(shape: Shape, patch: Shape, step: float = STEP) -> Iterator[Tile]:
    """The patches that cover an image of at least the patch's size, in (z, y, x) order."""
    axes = [list(zip(starts(n, p, step), axis_weights(n, p, step))) for n, p in zip(shape, patch)]
    for (z, wz), (y, wy), (x, wx) in product(*axes):
        yield Tile(Box((z, y, x), (z + patch[0], y + patch[1], x + patch[2])), (wz, wy, wx))


def sliding_window(
    networks: Sequence[nn.Module],
    image: np.ndarray,
    patch_size: Sequence[int],
    *,
    heads: int,
    batch_size: int,
    mirror_axes: Sequence[int],
    step: float = STEP,
    slices: int = 1,
    run: Resolved,
) -> torch.Tensor:
    """Logits (heads, z, y, x), float32, of an image (channels, z, y, x).

    ``patch_size`` has two entries for a 2-D network, which then sees slice by slice, each with its neighbours to make
    ``slices`` per channel; the border slices come again beyond the image. Networks see ``batch_size``
    patches at a time. The result lies on the device of ``run`` where it fits there, else in main memory.
    """
    patch: Shape = (1, *patch_size) if len(patch_size) == 2 else tuple(patch_size)  # type: ignore[assignment]
    flat = len(patch_size) == 2
    axes = [axis - flat for axis in mirror_axes if axis >= flat]
    padded, inner = _pad(image, patch)
    whole = _with_neighbours(padded, slices) if flat else torch.from_numpy(padded)
    logits = torch.zeros((heads, *padded.shape[1:]), device=_home(heads, padded.shape[1:], run.device))
    remaining = tiles(padded.shape[1:], patch, step)
    with torch.inference_mode(), torch.autocast(run.device.type, run.dtype, enabled=run.dtype is not None):
        while batch := list(islice(remaining, batch_size)):
            patches = torch.stack(
                [_slice_patch(whole, tile.box) if flat else whole[(slice(None),) + tile.box.slices] for tile in batch]
            ).to(run.device)
            found = mean_logits(networks, patches, axes)
            for tile, part in zip(batch, found.unsqueeze(2) if flat else found):
                logits[(slice(None),) + tile.box.slices] += part.mul_(_weight(tile, part.device)).to(logits.device)
    return logits[(slice(None),) + inner.slices]


def _with_neighbours(image: np.ndarray, slices: int) -> torch.Tensor:
    """A view (channels, z, y, x, slices) of ``image``: at each z the slices around it, beyond the border the border."""
    reach = slices // 2
    padded = np.pad(image, ((0, 0), (reach, reach), (0, 0), (0, 0)), mode="edge") if reach else image
    return torch.from_numpy(padded).unfold(1, slices, 1)


def _slice_patch(neighbours: torch.Tensor, box: Box) -> torch.Tensor:
    """(channels * slices, y, x) of one slice."""
    _, y, x = box.slices
    return neighbours[:, box.start[0], y, x].movedim(-1, 1).flatten(0, 1)


def _weight(tile: Tile, device: torch.device) -> torch.Tensor:
    z, y, x = (torch.from_numpy(weights).to(device) for weights in tile.weights)
    return z[:, None, None] * (y[:, None] * x)


def _pad(image: np.ndarray, patch: Shape) -> tuple[np.ndarray, Box]:
    """The image with zeros around it, centred, to at least the patch; and where the image lies in it."""
    shape = image.shape[1:]
    missing = [max(0, p - n) for n, p in zip(shape, patch)]
    before = [m // 2 for m in missing]
    inner = Box(tuple(before), tuple(b + n for b, n in zip(before, shape)))
    if not any(missing):
        return np.ascontiguousarray(image, np.float32), inner
    padded = np.zeros((image.shape[0], *(n + m for n, m in zip(shape, missing))), np.float32)
    padded[(slice(None),) + inner.slices] = image
    return padded, inner


def _home(heads: int, shape: Sequence[int], device: torch.device) -> torch.device:
    """Where the accumulator lives: main memory when it would take more than half of what a GPU has free."""
    if device.type != "cuda":
        return torch.device("cpu") if device.type == "mps" else device
    free, _ = torch.cuda.mem_get_info(device)
    needed = 4 * heads * int(np.prod(shape))
    return device if needed < free // 2 else torch.device("cpu")
