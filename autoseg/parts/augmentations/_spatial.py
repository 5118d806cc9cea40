"""Rotation, scaling and mirroring of a batch: one resampling from the loaded region to the patch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from ._draw import Params

# Up to so many foreground labels in a patch, the label whose linearly interpolated membership is largest wins (as in
# nnU-Net); a patch with more of them takes the nearest voxel's label, to keep time and memory within bounds.
LINEAR_LABELS = 8


def resample_patches(
    images: Tensor, targets: Tensor, params: Params, patch_size: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """``(B, C, *loaded)`` and ``(B, *loaded)`` to float32 ``(B, C, *patch)`` and ``(B, *patch)``.

    What lies beyond the loaded region becomes 0 in the image and background in the target.
    """
    margin = tuple((size - kept) // 2 for size, kept in zip(targets.shape[1:], patch_size))
    window = tuple(slice(start, start + kept) for start, kept in zip(margin, patch_size))
    all_channels = (slice(None), *window)
    new_images = torch.empty((*images.shape[:2], *patch_size), dtype=torch.float32, device=images.device)
    new_targets = torch.empty((len(targets), *patch_size), dtype=targets.dtype, device=targets.device)
    for index, (matrix, mirrored) in enumerate(zip(params.affine, params.mirrored)):
        if matrix is None:
            image, target = images[index][all_channels], targets[index][window]
        else:
            image, target = _warp(images[index], targets[index], matrix, margin, patch_size)
        new_images[index] = image.flip([axis + 1 for axis in mirrored])
        new_targets[index] = target.flip(mirrored)
    return new_images, new_targets


def _warp(
    image: Tensor, target: Tensor, matrix: np.ndarray, margin: tuple[int, ...], patch_size: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    grid = _grid(matrix, margin, tuple(target.shape), patch_size, image.device)
    labels = [value for value in torch.bincount(target.flatten()).nonzero().flatten().tolist() if value != 0]
    if len(labels) > LINEAR_LABELS:
        nearest = functional.grid_sample(target[None, None].float(), grid, mode="nearest", align_corners=False)
        return _linear(image.float(), grid), nearest[0, 0].to(target.dtype)
    # Image and labels in one call: computing where to sample is most of the work.
    members = [(target == value).float()[None] for value in labels]
    sampled = _linear(torch.cat((image.float(), *members)), grid)
    return sampled[: len(image)], _largest(sampled[len(image) :], labels, target.dtype)


def _largest(shares: Tensor, labels: list[int], dtype: torch.dtype) -> Tensor:
    """The label with the largest of ``shares`` (labels, *patch); background has what is left, and all beyond the edge.

    Label by label, since argmax over a short first axis took longer than everything else here.
    """
    best = 1.0 - shares.sum(0)
    winner = torch.zeros(best.shape, dtype=dtype, device=best.device)
    for label, share in zip(labels, shares):
        winner.masked_fill_(share > best, label)
        best = torch.maximum(best, share)
    return winner


def _linear(maps: Tensor, grid: Tensor) -> Tensor:
    return functional.grid_sample(maps[None], grid, mode="bilinear", padding_mode="zeros", align_corners=False)[0]


def _grid(
    matrix: np.ndarray,
    margin: tuple[int, ...],
    loaded: tuple[int, ...],
    patch_size: tuple[int, ...],
    device: torch.device,
) -> Tensor:
    """Sampling points ``(1, *patch, axes)`` for grid_sample: (x, y, z) in -1..1 from edge to edge of the region.

    An offset of one voxel from the centre is 2 / size there; the patch's centre stays where cropping would put it.
    """
    size, kept = np.array(loaded, float), np.array(patch_size, float)
    linear = matrix * kept / size[:, None]
    centre = (2.0 * np.array(margin) + kept) / size - 1.0
    theta = np.concatenate((linear[::-1, ::-1], centre[::-1, None]), axis=1)
    affine = torch.tensor(theta, dtype=torch.float32, device=device)[None]
    return functional.affine_grid(affine, [1, 1, *patch_size], align_corners=False)
