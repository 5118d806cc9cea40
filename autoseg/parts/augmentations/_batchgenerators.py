"""Calls into the batchgenerators library (0.25), whose transforms draw from the global generators as they go."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from batchgenerators.augmentations.crop_and_pad_augmentations import center_crop
from batchgenerators.augmentations.spatial_transformations import augment_mirroring
from batchgenerators.augmentations.utils import (
    create_zero_centered_coordinate_mesh,
    interpolate_img,
    rotate_coords_2d,
    rotate_coords_3d,
    scale_coords,
)
from batchgenerators.transforms.abstract_transforms import AbstractTransform
from batchgenerators.transforms.color_transforms import (
    BrightnessMultiplicativeTransform,
    ContrastAugmentationTransform,
    GammaTransform,
)
from batchgenerators.transforms.noise_transforms import GaussianBlurTransform, GaussianNoiseTransform
from batchgenerators.transforms.resample_transforms import SimulateLowResolutionTransform
from torch import Tensor

from ...errors import RecordError

if TYPE_CHECKING:
    from .batchgenerators import Spec


@dataclass(frozen=True)
class Params:
    """What the library cannot draw itself, and seeds for what it does."""

    seeds: tuple[tuple[int, int], ...]
    """Per patch: for moving it, for changing its grey values."""
    channels: int
    mirror_axes: tuple[int, ...]

    def of_patches(self, start: int, stop: int) -> Params:
        """What was drawn for these patches."""
        return replace(self, seeds=self.seeds[start:stop])


def draw(spec: Spec, generator: np.random.Generator, batch: int, channels: int, mirror_axes: tuple[int, ...]) -> Params:
    """See ``batchgenerators.Spec.draw``."""
    seeds = tuple((int(first), int(second)) for first, second in generator.integers(2**32, size=(batch, 2)))
    return Params(seeds, channels, mirror_axes)


def is_moved(spec: Spec, params: Params, patch: int) -> bool:
    """Whether patch number ``patch`` will be rotated or scaled. Leaves the global generators alone."""
    return any(_chosen(spec, np.random.RandomState(params.seeds[patch][0])))


def augment(
    spec: Spec, images: Sequence[Tensor], targets: Sequence[Tensor], params: Params, patch_size: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """See ``batchgenerators.Spec.apply``."""
    device = images[0].device
    if len(images[0]) != params.channels:
        raise RecordError("augmentation=batchgenerators knows no neighbouring slices; set slices=1, or standard")
    transforms = _transforms(spec)
    new_images, new_targets = [], []
    for image, target, (place, grey) in zip(images, targets, params.seeds):
        loaded = image.float().cpu().numpy(), target.cpu().numpy()
        with _seeded(place):
            moved, new_target = _moved(spec, *loaded, params.mirror_axes, patch_size)
        with _seeded(grey):
            new_images.append(_recoloured(spec, moved, transforms))
        new_targets.append(new_target)
    return torch.from_numpy(np.stack(new_images)).to(device), torch.from_numpy(np.stack(new_targets)).to(device)


def move_images(spec: Spec, images: Sequence[Tensor], params: Params, patch_size: tuple[int, ...]) -> Tensor:
    """Per patch ``(C, *loaded)`` to float32 ``(B, C, *patch)``, where ``augment`` moves the images."""
    arrays = [each.float().cpu().numpy() for each in images]
    moved = [
        _placed(spec, array, np.zeros(array.shape[1:], np.uint8), params, patch, patch_size)[0]
        for patch, array in enumerate(arrays)
    ]
    return torch.from_numpy(np.stack(moved)).to(images[0].device)


def move_labels(spec: Spec, labels: Sequence[Tensor], params: Params, patch_size: tuple[int, ...]) -> Tensor:
    """Per patch ``(maps, *loaded)`` to ``(B, maps, *patch)``, where ``augment`` moves the targets."""
    arrays = [each.cpu().numpy() for each in labels]
    moved = [
        np.stack([_placed(spec, array[:0].astype(np.float32), one, params, patch, patch_size)[1] for one in array])
        for patch, array in enumerate(arrays)
    ]
    return torch.from_numpy(np.stack(moved)).to(labels[0].device)


def _placed(
    spec: Spec, image: np.ndarray, target: np.ndarray, params: Params, patch: int, patch_size: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """``(C, *loaded)`` and ``(*loaded)`` moved as patch number ``patch``."""
    with _seeded(params.seeds[patch][0]):
        return _moved(spec, image, target, params.mirror_axes, patch_size)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """The global generators of numpy and Python, seeded inside and afterwards as they were."""
    before = np.random.get_state(), random.getstate()
    np.random.seed(seed)
    random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(before[0])
        random.setstate(before[1])


def _moved(
    spec: Spec, image: np.ndarray, target: np.ndarray, mirror_axes: tuple[int, ...], patch_size: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """``(C, *loaded)`` and ``(*loaded)`` to the patch: rotated, scaled, mirrored."""
    maps, labels = image, target[None]
    if spec.dummy_2d:  # slices become channels, which move together
        maps, labels = maps.reshape(-1, *maps.shape[2:]), target
    maps, labels = _rotated_and_scaled(spec, maps, labels, patch_size[1:] if spec.dummy_2d else patch_size)
    image, target = maps.reshape(len(image), *patch_size), labels.reshape(patch_size)
    chosen = tuple(axis for axis in mirror_axes if np.random.uniform() < 2 * spec.mirror_probability)
    image, labels = augment_mirroring(image, target[None], chosen)  # along each axis in one of two cases
    return image, labels[0]


def _chosen(spec: Spec, generator: Any) -> tuple[bool, bool]:
    """Whether a patch is rotated and whether it is scaled: the first that is drawn for it."""
    rotated, scaled = generator.uniform(size=2) < (spec.rotation_probability, spec.scaling_probability)
    return bool(rotated), bool(scaled)


def _rotated_and_scaled(
    spec: Spec, maps: np.ndarray, labels: np.ndarray, patch_size: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """By hand, since the library's whole transform draws as many scales below 1 as above, unlike nnU-Net v2 2.8.1."""
    coordinates = create_zero_centered_coordinate_mesh(patch_size)
    rotated, scaled = _chosen(spec, np.random)
    if not rotated and not scaled:
        both = np.concatenate((maps, labels.astype(np.float32)))[None]  # labels below 2^24: float32 holds them
        cropped = center_crop(both, patch_size)[0][0]
        return cropped[: len(maps)], cropped[len(maps) :].astype(labels.dtype)
    angle = np.radians(spec.rotation_degrees)
    if rotated:
        angles = np.random.uniform(-angle, angle, 3)
        flat = len(patch_size) == 2
        coordinates = rotate_coords_2d(coordinates, angles[0]) if flat else rotate_coords_3d(coordinates, *angles)
    if scaled:
        coordinates = scale_coords(coordinates, np.random.uniform(*spec.scaling))
    centre = (np.array(maps.shape[1:]) - 1) / 2
    coordinates += centre.reshape(-1, *(1,) * len(patch_size))
    new_maps = [interpolate_img(each, coordinates, 1, "grid-constant") for each in maps]
    new_labels = [interpolate_img(each, coordinates, 1, "constant", is_seg=True) for each in labels]
    return np.array(new_maps, np.float32).reshape(len(maps), *patch_size), np.stack(new_labels)


def _transforms(spec: Spec) -> list[AbstractTransform]:
    """In nnU-Net's order."""

    def reals(values: tuple[float, float]) -> tuple[float, float]:
        return float(values[0]), float(values[1])  # of two whole numbers it would draw a whole one

    gamma = {"gamma_range": spec.gamma, "per_channel": True, "retain_stats": True}
    return [
        GaussianNoiseTransform(reals(spec.noise_variance), p_per_sample=spec.noise_probability),
        GaussianBlurTransform(
            reals(spec.blur_sigma),
            different_sigma_per_axis=True,
            p_per_channel=spec.blur_channel_probability,
            p_per_sample=spec.blur_probability,
        ),
        BrightnessMultiplicativeTransform(spec.brightness, p_per_sample=spec.brightness_probability),
        ContrastAugmentationTransform(spec.contrast, p_per_sample=spec.contrast_probability),
        SimulateLowResolutionTransform(
            spec.low_resolution,
            per_channel=True,
            p_per_channel=spec.low_resolution_channel_probability,
            order_downsample=0,
            order_upsample=1,
            p_per_sample=spec.low_resolution_probability,
            ignore_axes=(0,) if spec.dummy_2d else None,
        ),
        GammaTransform(invert_image=True, p_per_sample=spec.inverted_gamma_probability, **gamma),
        GammaTransform(p_per_sample=spec.gamma_probability, **gamma),
    ]


def _recoloured(spec: Spec, image: np.ndarray, transforms: list[AbstractTransform]) -> np.ndarray:
    """``image`` (C, *patch) after all changes of grey values."""
    masked = list(spec.masked_channels)
    outside = image[masked] == 0
    data = image[None].copy()
    for transform in transforms:
        data = transform(data=data)["data"]
    changed: np.ndarray = data[0]
    changed[masked] = np.where(outside, 0.0, changed[masked])
    return changed
