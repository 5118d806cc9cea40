"""The augmentations of Isensee et al. 2021 with the probabilities and ranges of nnU-Net v2 2.8.1, a batch at a time.

Order: rotation, scaling and mirroring (one resampling), noise, blur, brightness, contrast, low resolution, inverted
gamma, gamma. ``draw`` decides everything and returns plain numbers; ``apply`` holds no randomness but a noise seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, radians, sin
from typing import TYPE_CHECKING

import numpy as np

from ...core.bounds import bounded

if TYPE_CHECKING:
    from torch import Tensor

    from ._draw import Params


@dataclass(frozen=True)
class Spec:
    """A ``..._probability`` is per patch; a ``..._channel_probability`` is per channel of a patch that was chosen."""

    dummy_2d: bool = False
    """Rotate and scale within slices only, for patches much thinner along z than across."""
    rotation_degrees: float = 30.0
    """Angles are uniform in +- this, about every axis (2-D and dummy_2d: in the plane)."""
    rotation_probability: float = 0.2
    scaling: tuple[float, float] = (0.7, 1.4)
    """Range of the factor by which the loaded region is larger than the patch; the same along every axis."""
    scaling_probability: float = 0.2
    loaded_scale: float = 0.85
    """The loaded region is enlarged by one over this, so that most patches that see more than their size are filled."""
    mirror_probability: float = 0.5
    """Along each axis that may be mirrored."""
    noise_variance: tuple[float, float] = (0.0, 0.1)
    noise_probability: float = 0.1
    blur_sigma: tuple[float, float] = (0.5, 1.0)
    """Voxels."""
    blur_probability: float = 0.2
    blur_channel_probability: float = 0.5
    brightness: tuple[float, float] = (0.75, 1.25)
    brightness_probability: float = 0.15
    contrast: tuple[float, float] = (0.75, 1.25)
    contrast_probability: float = 0.15
    low_resolution: tuple[float, float] = (0.5, 1.0)
    """Range of the factor by which the number of voxels along an axis is reduced before it is restored."""
    low_resolution_probability: float = 0.25
    low_resolution_channel_probability: float = 0.5
    gamma: tuple[float, float] = (0.7, 1.5)
    inverted_gamma_probability: float = 0.1
    gamma_probability: float = 0.3
    masked_channels: tuple[int, ...] = ()
    """Channels normalised inside a mask: their exact zeros (outside it) are zero again after all changes."""

    def __post_init__(self) -> None:
        for name in ("scaling", "blur_sigma", "brightness", "contrast", "gamma"):
            _check_range(self, name, most=100)
        _check_range(self, "noise_variance", most=1e6)
        _check_range(self, "low_resolution", most=1)
        bounded(self, "rotation_degrees", least=0, most=360)
        bounded(self, "loaded_scale", least=0.1, most=1)
        bounded(self, "masked_channels", least=0)
        bounded(self, *(name for name in vars(self) if name.endswith("probability")), least=0, most=1)

    def loaded_shape(self, patch_size: tuple[int, ...]) -> tuple[int, ...]:
        """The most that is read of a patch, so that it has few empty corners when it is rotated or scaled.

        As nnU-Net v2 2.8.1: each axis grows to what a rotation about one axis by the largest angle (90 degrees at
        most) needs, then by ``1 / loaded_scale``. Unlike there, either sense of the rotation is provided for.
        """
        patch = np.array(patch_size, float)
        angle = radians(min(90.0, self.rotation_degrees)) if self.rotation_probability else 0.0
        axes = (1, 2) if self.dummy_2d else tuple(range(patch.size))
        needed = patch.copy()
        for a in axes:
            for b in axes:
                if a != b:
                    needed[a] = max(needed[a], cos(angle) * patch[a] + sin(angle) * patch[b])
        if self.scaling_probability:
            needed[list(axes)] /= self.loaded_scale
        return tuple(int(size) for size in needed)

    def needed_shape(self, params: Params, patch: int, patch_size: tuple[int, ...]) -> tuple[int, ...]:
        """What is to be read for patch number ``patch`` of the batch, with the patch's centre: what it will show.

        At most ``loaded_shape``; ``patch_size`` unless the patch is rotated or scaled.
        """
        from ._spatial import needed_shape

        return needed_shape(params.affine[patch], patch_size, self.loaded_shape(patch_size))

    def draw(
        self,
        generator: np.random.Generator,
        *,
        batch: int,
        channels: int,
        mirror_axes: Sequence[int],
        dimensions: int,
    ) -> Params:
        """Everything random about one batch as plain numbers. ``mirror_axes`` count the patch's own axes."""
        from ._draw import draw

        return draw(self, generator, batch, channels, tuple(mirror_axes), dimensions)

    def apply(
        self, images: Sequence[Tensor], targets: Sequence[Tensor], params: Params, patch_size: tuple[int, ...]
    ) -> tuple[Tensor, Tensor]:
        """Per patch ``(C, *loaded)`` and ``(*loaded)`` to float32 ``(B, C, *patch)``, label indices ``(B, *patch)``.

        Loaded is at least ``needed_shape``. Where there are several times as many images as channels were drawn for,
        each channel is that many neighbouring slices, which change together.
        """
        from ._intensity import change_intensities
        from ._spatial import resample_patches

        moved, labels = resample_patches(images, targets, params, patch_size)
        channels = moved.unflatten(1, (params.brightness.shape[1], -1))
        return change_intensities(channels, params, self.masked_channels).flatten(1, 2), labels

    def move_images(self, images: Sequence[Tensor], params: Params, patch_size: tuple[int, ...]) -> Tensor:
        """Each ``(C, *loaded)`` to float32 ``(B, C, *patch)``: moved as the images of ``apply``."""
        from ._spatial import resample_images

        return resample_images(images, params, patch_size)

    def move_labels(self, labels: Sequence[Tensor], params: Params, patch_size: tuple[int, ...]) -> Tensor:
        """Each ``(maps, *loaded)`` to ``(B, maps, *patch)``: moved as the targets of ``apply``."""
        from ._spatial import resample_labels

        return resample_labels(labels, params, patch_size)


def _check_range(record: Spec, name: str, most: float) -> None:
    bounded(record, name, least=0, most=most)
    low, high = getattr(record, name)
    if low > high:
        raise ValueError(f"{name} must be a range low..high, found {low:g}..{high:g}")
