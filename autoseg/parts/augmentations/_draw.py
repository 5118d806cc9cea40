"""Everything random about one batch of the standard augmentation, as plain numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .standard import Spec


@dataclass(frozen=True)
class Params:
    """Arrays begin with (patch,) or (patch, channel); a neutral value (named below) means: leave it alone."""

    affine: tuple[np.ndarray | None, ...]
    """Per patch: (axes, axes) matrix from the patch's voxel offsets to those of the loaded region; None: no change."""
    mirrored: tuple[tuple[int, ...], ...]
    """Per patch: spatial axes to mirror, after ``affine``."""
    noise_std: np.ndarray
    """(patch,), neutral 0."""
    noise_seed: np.ndarray
    """(patch,)"""
    blur_sigma: np.ndarray
    """(patch, channel, axis) voxels, neutral 0."""
    brightness: np.ndarray
    """(patch, channel), neutral 1."""
    contrast: np.ndarray
    """(patch, channel), neutral 1."""
    low_resolution: np.ndarray
    """(patch, channel, axis), neutral 1."""
    inverted_gamma: np.ndarray
    """(patch, channel), neutral 1."""
    gamma: np.ndarray
    """(patch, channel), neutral 1."""

    def of_patches(self, start: int, stop: int) -> Params:
        """What was drawn for these patches."""
        return Params(**{name: value[start:stop] for name, value in vars(self).items()})


def draw(
    spec: Spec,
    generator: np.random.Generator,
    batch: int,
    channels: int,
    mirror_axes: tuple[int, ...],
    dimensions: int,
) -> Params:
    """See ``standard.Spec.draw``."""

    def chosen(probability: float, channel_probability: float = 1.0) -> np.ndarray:
        """(patch, channel) bool."""
        patches = generator.random((batch, 1)) < probability
        return patches & (generator.random((batch, channels)) < channel_probability)

    def factors(limits: tuple[float, float], probability: float) -> np.ndarray:
        return np.where(chosen(probability), _either_side(generator, limits, (batch, channels)), 1.0)

    affine = tuple(_affine(spec, generator, dimensions) for _ in range(batch))
    mirrored = tuple(
        tuple(axis for axis in mirror_axes if generator.random() < spec.mirror_probability) for _ in range(batch)
    )
    blurred = chosen(spec.blur_probability, spec.blur_channel_probability)[..., None]
    coarse = chosen(spec.low_resolution_probability, spec.low_resolution_channel_probability)
    resolution = np.where(coarse, generator.uniform(*spec.low_resolution, (batch, channels)), 1.0)
    resolution = np.repeat(resolution[..., None], dimensions, axis=2)
    if spec.dummy_2d:
        resolution[..., 0] = 1.0
    return Params(
        affine=affine,
        mirrored=mirrored,
        # nnU-Net draws a "variance" and uses it as the standard deviation: the same noise here.
        noise_std=np.where(
            generator.random(batch) < spec.noise_probability, generator.uniform(*spec.noise_variance, batch), 0.0
        ),
        noise_seed=generator.integers(2**63, dtype=np.uint64) + np.arange(batch, dtype=np.uint64),
        blur_sigma=np.where(blurred, generator.uniform(*spec.blur_sigma, (batch, channels, dimensions)), 0.0),
        brightness=factors(spec.brightness, spec.brightness_probability),
        contrast=factors(spec.contrast, spec.contrast_probability),
        low_resolution=resolution,
        inverted_gamma=factors(spec.gamma, spec.inverted_gamma_probability),
        gamma=factors(spec.gamma, spec.gamma_probability),
    )


def _either_side(generator: np.random.Generator, limits: tuple[float, float], shape: tuple[int, ...]) -> np.ndarray:
    """Below and above 1 equally often, uniform on each side (as nnU-Net draws brightness, contrast and gamma)."""
    low, high = limits
    above = generator.uniform(max(low, 1.0), max(high, 1.0), shape)
    if low >= 1.0:
        return above
    below = generator.uniform(low, min(high, 1.0), shape)
    return np.where(generator.random(shape) < 0.5, below, above) if high > 1.0 else below


def _affine(spec: Spec, generator: np.random.Generator, dimensions: int) -> np.ndarray | None:
    rotated = generator.random() < spec.rotation_probability
    scaled = generator.random() < spec.scaling_probability
    angles = np.radians(generator.uniform(-spec.rotation_degrees, spec.rotation_degrees, 3))
    scale = generator.uniform(*spec.scaling)
    if not rotated and not scaled:
        return None
    planes = ((1, 2), (0, 2), (0, 1)) if dimensions == 3 and not spec.dummy_2d else ((dimensions - 2, dimensions - 1),)
    matrix = np.eye(dimensions)
    if rotated:
        for (a, b), angle in zip(planes, angles):
            turn = np.eye(dimensions)
            turn[[a, a, b, b], [a, b, a, b]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
            matrix = turn @ matrix
    if scaled:
        scales = np.full(dimensions, scale)
        if spec.dummy_2d:
            scales[0] = 1.0
        matrix = matrix * scales
    return matrix
