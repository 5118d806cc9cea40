"""Rotation, scaling and mirroring of a batch: one resampling from the loaded region to the patch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress, product
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from ._draw import Params

POINTS_AT_ONCE = 1 << 18  # a dozen numbers per point are held meanwhile, on a processor in its caches
POINTS_ON_GPU = 1 << 19  # where an operation on fewer takes longer to start than to compute


def resample_patches(
    images: Sequence[Tensor], targets: Sequence[Tensor], params: Params, patch_size: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """Per patch ``(C, *loaded)`` and ``(*loaded)``, all to float32 ``(B, C, *patch)`` and ``(B, *patch)``.

    What lies beyond the loaded region becomes 0 in the image and background in the target. Images are interpolated
    linearly; a voxel of the target gets the label whose linearly interpolated membership is largest (as in nnU-Net).
    """
    first, labels = images[0], targets[0]
    new_images = torch.empty((len(images), len(first), *patch_size), dtype=torch.float32, device=first.device)
    new_targets = torch.empty((len(images), *patch_size), dtype=labels.dtype, device=first.device)
    for index, (matrix, mirrored) in enumerate(zip(params.affine, params.mirrored)):
        image, target = images[index], targets[index]
        margin = tuple((size - kept) // 2 for size, kept in zip(target.shape, patch_size))
        if matrix is None:
            window = tuple(slice(start, start + kept) for start, kept in zip(margin, patch_size))
            all_channels = (slice(None), *window)
            image, target = image[all_channels], target[window]
        else:
            image, target = _moved(image, target, matrix, np.array(margin), patch_size)
        new_images[index] = image.flip([axis + 1 for axis in mirrored]) if mirrored else image
        new_targets[index] = target.flip(mirrored) if mirrored else target
    return new_images, new_targets


def resample_images(images: Sequence[Tensor], params: Params, patch_size: tuple[int, ...]) -> Tensor:
    """Per patch ``(C, *loaded)`` to float32 ``(B, C, *patch)``, as ``resample_patches`` moves them."""
    nothing = [each.new_zeros(each.shape[1:], dtype=torch.uint8) for each in images]
    return resample_patches(images, nothing, params, patch_size)[0]


def resample_labels(labels: Sequence[Tensor], params: Params, patch_size: tuple[int, ...]) -> Tensor:
    """Per patch ``(maps, *loaded)`` to ``(B, maps, *patch)``, as ``resample_patches`` moves targets."""
    nothing = [each[:0] for each in labels]
    maps = zip(*labels)
    return torch.stack([resample_patches(nothing, each, params, patch_size)[1] for each in maps], 1)


def needed_shape(matrix: np.ndarray | None, patch_size: tuple[int, ...], loaded: tuple[int, ...]) -> tuple[int, ...]:
    """What a patch moved by ``matrix`` shows of the region of shape ``loaded``, with the same centre.

    Along an axis that is fewer voxels than the patch has where the patch shows less than its own size.
    """
    if matrix is None:
        return patch_size
    low, stop = _reach(matrix, patch_size)
    margin = np.maximum(-low, stop - patch_size)
    return tuple(np.minimum(patch_size + 2 * margin, loaded).tolist())


def _reach(matrix: np.ndarray, patch_size: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """First voxel that is needed along each axis, and the one after the last, counted from the patch's own first."""
    ends = [(-(edge - 1) / 2, (edge - 1) / 2) for edge in patch_size]
    corners = np.array(list(product(*ends))) @ matrix.T + (np.array(patch_size) - 1) / 2
    return np.floor(corners.min(0)).astype(int), np.floor(corners.max(0)).astype(int) + 2


def _moved(
    image: Tensor, target: Tensor, matrix: np.ndarray, margin: np.ndarray, patch_size: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    if len(patch_size) == 3 and matrix[0].tolist() == [1, 0, 0] and matrix[:, 0].tolist() == [1, 0, 0]:
        # Within slices only: these are channels of one plane, and where to sample is found once for all of them.
        inner = slice(margin[0], margin[0] + patch_size[0])
        channels, slices = image[:, inner].flatten(0, 1), target[inner]
        image, target = warp(channels, slices, matrix[1:, 1:], margin[1:], patch_size[1:])
        return image.unflatten(0, (-1, patch_size[0])), target
    image, labels = warp(image, target[None], matrix, margin, patch_size)
    return image, labels[0]


def warp(
    image: Tensor, labels: Tensor, matrix: np.ndarray, margin: np.ndarray, patch_size: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """``image`` (C, *loaded) and ``labels`` (L, *loaded) at float32 (C, *patch) and (L, *patch).

    The patch's centre stays where cropping would put it; ``margin`` is the patch's first voxel then, less than 0 where
    less than the patch was loaded. Image and labels share the places and weights, and labels are weighed against each
    other only where neighbours differ: on a processor that takes a fraction of the time of torch's grid_sample with a
    channel per label.
    """
    centre, limit = (np.array(patch_size) - 1) / 2, np.array(labels.shape[1:])
    low, high = _reach(matrix, patch_size)
    start = np.clip(margin + low, -1, limit - 1)  # -1 and limit are the zeros around
    stop = np.clip(margin + high, start + 2, limit + 1)
    image, labels = _block(image, start, stop, torch.float32), _block(labels, start, stop, labels.dtype)
    offset = centre + (margin - start) - matrix @ centre
    points = POINTS_AT_ONCE if image.device.type == "cpu" else POINTS_ON_GPU
    depth = max(1, points // int(np.prod(patch_size[1:])))
    parts = []
    for first in range(0, patch_size[0], depth):
        slab = range(first, min(first + depth, patch_size[0]))
        rows = (slab, *(range(edge) for edge in patch_size[1:]))
        cells = Cells.of(rows, matrix, offset, tuple((stop - start).tolist()), image.device)
        parts.append((cells.interpolated(image), cells.strongest(labels)))
    new_image, new_labels = (torch.cat(each, 1) for each in zip(*parts))
    return new_image.view(-1, *patch_size), new_labels.view(-1, *patch_size)


def _block(maps: Tensor, start: np.ndarray, stop: np.ndarray, dtype: torch.dtype) -> Tensor:
    """``maps`` (n, *loaded) between two corners as (n, voxels); one voxel around the region is there, and 0."""
    block = torch.zeros((len(maps), *(stop - start).tolist()), dtype=dtype, device=maps.device)
    low, high = np.maximum(start, 0), np.minimum(stop, maps.shape[1:])
    there = (slice(None), *(slice(a, b) for a, b in zip((low - start).tolist(), (high - start).tolist())))
    here = (slice(None), *(slice(a, b) for a, b in zip(low.tolist(), high.tolist())))
    block[there] = maps[here]
    return block.flatten(1)


@dataclass(frozen=True)
class Cells:
    """Points inside a block of voxels: each lies in a cell whose corners are the 4 or 8 voxels around it."""

    first: Tensor
    """(n,) flat index of the voxel before the point along all axes."""
    shares: list[Tensor]
    """Per axis (n,): how far the point is on the way to the next voxel, 0..1."""
    steps: list[int]
    """From the flat index of the first corner to that of each, the last axis fastest."""

    @classmethod
    def of(
        cls,
        rows: tuple[range, ...],
        matrix: np.ndarray,
        offset: np.ndarray,
        shape: tuple[int, ...],
        device: torch.device,
    ) -> Cells:
        """Of the points ``matrix @ row + offset``, drawn in at the border of a block of ``shape``."""
        kind = torch.float32 if np.prod(shape) < 1 << 24 else torch.float64  # holds every flat index
        index, shares = torch.zeros((), dtype=kind, device=device), []
        strides = [int(np.prod(shape[axis + 1 :])) for axis in range(len(shape))]
        for axis, size in enumerate(shape):
            place = torch.full((), float(offset[axis]), device=device)
            for other, row in enumerate(rows):
                along = torch.arange(row.start, row.stop, dtype=torch.float32, device=device) * matrix[axis, other]
                place = place + along.view(*(-1 if other == each else 1 for each in range(len(rows))))
            before = place.clamp_(0, size - 1).floor().clamp_(max=size - 2)
            shares.append((place - before).flatten())
            index = torch.add(before, index, alpha=size)
        steps = [sum(compress(strides, corner)) for corner in product((0, 1), repeat=len(shape))]
        return cls(index.flatten().long(), shares, steps)

    def _around(self, row: Tensor) -> list[Tensor]:
        """The values of ``row`` (voxels,) at each corner."""
        return [row[step:].index_select(0, self.first) for step in self.steps]

    def interpolated(self, image: Tensor) -> Tensor:
        """``image`` (C, voxels) at the points, linearly: (C, n)."""
        channels = image.new_empty(len(image), len(self.first))
        for channel, row in zip(channels, image):
            values = self._around(row)
            for share in reversed(self.shares):
                values = [torch.lerp(before, after, share) for before, after in zip(values[::2], values[1::2])]
            channel.copy_(values[0])
        return channels

    def strongest(self, labels: Tensor) -> Tensor:
        """Of ``labels`` (L, voxels) at the points, the one that most weight of the corners speaks for: (L, n)."""
        return torch.stack([self._strongest(self._around(row)) for row in labels])

    def _strongest(self, labels: list[Tensor]) -> Tensor:
        differ = labels[0] != labels[1]
        for other in labels[2:]:
            differ |= labels[0] != other
        points = differ.nonzero().squeeze(1)
        candidates = torch.stack([each.index_select(0, points) for each in labels])
        shares = torch.stack([share.index_select(0, points) for share in self.shares])
        weights = torch.ones_like(shares[:1])
        for both in torch.stack((1.0 - shares, shares), 1):
            weights = (weights[:, None] * both).flatten(0, 1)
        support = ((candidates[:, None] == candidates) * weights).sum(1)
        winner, most = candidates[0], support[0]
        for candidate, given in zip(candidates[1:], support[1:]):  # torch's argmax takes ten times as long
            winner, most = torch.where(given > most, candidate, winner), torch.maximum(given, most)
        return labels[0].index_copy_(0, points, winner)
