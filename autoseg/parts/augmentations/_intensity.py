"""Changes of grey values. Each acts in place, only on the patches and channels that were drawn."""

from __future__ import annotations

from collections.abc import Callable
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
        _along_axes(blurred, images[patch, channel], params.blur_sigma[patch, channel])
    _scale(images, params.brightness)
    for patch, channel in _drawn(params.contrast, 1.0):
        _contrast(images[patch, channel], float(params.contrast[patch, channel]))
    for patch, channel in _drawn(params.low_resolution, 1.0):
        _along_axes(coarsened, images[patch, channel], params.low_resolution[patch, channel])
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
    low, high = torch.aminmax(channel)
    mean = channel.mean()
    deviation = torch.linalg.vector_norm(channel - mean)  # a tenth of the time of torch's std
    channel.sub_(low).div_((high - low).clamp_min(EPSILON)).pow_(gamma)
    channel.sub_(channel.mean())
    return channel.mul_(deviation / torch.linalg.vector_norm(channel).clamp_min(EPSILON)).add_(mean)


def _along_axes(change: Callable[[Tensor, int, float], Tensor], channel: Tensor, values: np.ndarray) -> None:
    """Replaces ``channel`` by what ``change`` makes of it with one of ``values`` along each of its last axes."""
    result = channel
    for axis, value in enumerate(values.tolist(), start=channel.dim() - len(values)):
        result = change(result, axis, value)
    channel.copy_(result)


def blurred(channel: Tensor, axis: int, sigma: float) -> Tensor:
    """Gaussian blur along ``axis``; the image is mirrored at its border voxels."""
    size = channel.shape[axis]
    radius = min(int(TRUNCATE * sigma + 0.5), size - 1)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    weights /= weights.sum()
    mirrored = np.abs(np.arange(-radius, size + radius))
    mirrored = np.where(mirrored >= size, 2 * (size - 1) - mirrored, mirrored)
    padded = channel.index_select(axis, torch.from_numpy(mirrored).to(channel.device))
    result = padded.narrow(axis, radius, size) * float(weights[radius])
    for start, weight in enumerate(weights.tolist()):
        if start != radius:
            result.add_(padded.narrow(axis, start, size), alpha=weight)
    return result


def coarsened(channel: Tensor, axis: int, factor: float) -> Tensor:
    """Along ``axis``, the nearest voxels on a grid of ``factor`` times as many, then linearly back."""
    size = channel.shape[axis]
    coarse = max(1, round(size * factor))
    if coarse == size:
        return channel
    taken = np.floor((np.arange(coarse) + 0.5) * size / coarse).astype(int)
    position = np.clip((np.arange(size) + 0.5) * coarse / size - 0.5, 0, coarse - 1)
    before = np.floor(position).astype(int)
    share = torch.tensor(position - before, dtype=channel.dtype, device=channel.device)
    ends = (taken[before], taken[np.minimum(before + 1, coarse - 1)])
    first, second = (channel.index_select(axis, torch.from_numpy(end).to(channel.device)) for end in ends)
    return torch.lerp(first, second, share.view(-1, *(1,) * (channel.dim() - 1 - axis)))
