"""Changes of grey values. Each acts in place, only on the patches and channels that were drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from ._draw import Params

TRUNCATE = 4.0  # the Gaussian is cut at so many sigmas: what lies beyond weighs less than 1e-4
EPSILON = 1e-7


def change_intensities(images: Tensor, params: Params, masked_channels: tuple[int, ...] = ()) -> Tensor:
    """``images`` (B, C, [slices,] *patch) float32 after noise, blur, brightness, contrast, low resolution and gamma."""
    channels = list(masked_channels)
    outside = images[:, channels] == 0 if channels else None
    _noise(images, params)
    for patch, channel in _drawn(params.blur_sigma, 0.0):
        sigmas = params.blur_sigma[patch, channel]
        _along_axes(images[patch, channel], [gaussian(n, s) for n, s in zip(images.shape[-len(sigmas) :], sigmas)])
    _scale(images, params.brightness)
    for patch, channel in _drawn(params.contrast, 1.0):
        _contrast(images[patch, channel], float(params.contrast[patch, channel]))
    for patch, channel in _drawn(params.low_resolution, 1.0):
        factors = params.low_resolution[patch, channel]
        _along_axes(images[patch, channel], [down_and_up(n, f) for n, f in zip(images.shape[-len(factors) :], factors)])
    for patch, channel in _drawn(params.inverted_gamma, 1.0):
        _gamma(images[patch, channel].neg_(), float(params.inverted_gamma[patch, channel])).neg_()
    for patch, channel in _drawn(params.gamma, 1.0):
        _gamma(images[patch, channel], float(params.gamma[patch, channel]))
    if outside is not None:
        images[:, channels] = images[:, channels].masked_fill(outside, 0.0)
    return images


def _drawn(values: np.ndarray, neutral: float) -> list[tuple[int, int]]:
    """The (patch, channel) pairs with any value that is not neutral."""
    hits = (values != neutral).reshape(*values.shape[:2], -1).any(axis=2)
    return [(int(patch), int(channel)) for patch, channel in np.argwhere(hits)]


def _noise(images: Tensor, params: Params) -> None:
    drawn = np.flatnonzero(params.noise_std)
    if not drawn.size:
        return
    generator = torch.Generator(images.device)
    for patch in drawn.tolist():
        generator.manual_seed(int(params.noise_seed[patch]))
        noise = torch.randn(images[patch].shape, generator=generator, device=images.device)
        images[patch].add_(noise, alpha=float(params.noise_std[patch]))


def _scale(images: Tensor, factors: np.ndarray) -> None:
    if (factors != 1.0).any():
        weights = torch.tensor(factors, dtype=images.dtype, device=images.device)
        images.mul_(weights.view(*factors.shape, *(1,) * (images.dim() - 2)))


def _contrast(channel: Tensor, factor: float) -> None:
    """Stretches around the mean, within the range that was there."""
    low, high = torch.aminmax(channel)
    mean = channel.mean()
    channel.sub_(mean).mul_(factor).add_(mean).clamp_(low, high)


def _gamma(channel: Tensor, gamma: float) -> Tensor:
    """``x ** gamma`` on the range stretched to 0..1; mean and standard deviation stay."""
    std, mean = torch.std_mean(channel)
    low, high = torch.aminmax(channel)
    channel.sub_(low).div_((high - low).clamp_min(EPSILON)).pow_(gamma)
    new_std, new_mean = torch.std_mean(channel)
    return channel.sub_(new_mean).mul_(std / new_std.clamp_min(EPSILON)).add_(mean)


def _along_axes(channel: Tensor, matrices: list[np.ndarray | None]) -> None:
    """Replaces ``channel`` by its product with one (n, n) matrix per axis, the last ones; None leaves an axis alone."""
    result = channel
    for axis, matrix in enumerate(matrices, start=-len(matrices)):
        if matrix is not None:
            weights = torch.tensor(matrix, dtype=channel.dtype, device=channel.device)
            result = torch.tensordot(weights, result, dims=([1], [axis])).movedim(0, axis)
    channel.copy_(result)


def gaussian(size: int, sigma: float) -> np.ndarray:
    """(size, size) matrix of a Gaussian blur; the image is mirrored at its border voxels."""
    radius = min(int(TRUNCATE * sigma + 0.5), size - 1)
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    rows = np.arange(size)[:, None]
    columns = np.abs(rows + offsets)
    columns = np.where(columns >= size, 2 * (size - 1) - columns, columns)
    matrix = np.zeros((size, size))
    np.add.at(matrix, (np.broadcast_to(rows, columns.shape), columns), weights / weights.sum())
    return matrix


def down_and_up(size: int, factor: float) -> np.ndarray | None:
    """(size, size) matrix: nearest voxel on a grid of ``factor * size`` voxels, then linear back. None: no change."""
    coarse = max(1, round(size * factor))
    if coarse == size:
        return None
    taken = np.floor((np.arange(coarse) + 0.5) * size / coarse).astype(int)
    position = np.clip((np.arange(size) + 0.5) * coarse / size - 0.5, 0, coarse - 1)
    below = np.floor(position).astype(int)
    share = position - below
    matrix = np.zeros((size, size))
    np.add.at(matrix, (np.arange(size), taken[below]), 1.0 - share)
    np.add.at(matrix, (np.arange(size), taken[np.minimum(below + 1, coarse - 1)]), share)
    return matrix
