"""The augmentations of Isensee et al. 2021 with the probabilities and ranges of nnU-Net v2 2.8.1, a batch at a time.

Order: rotation, scaling and mirroring (one resampling), noise, blur, brightness, contrast, low resolution, inverted
gamma, gamma. The label map of an earlier stage, which a cascade sees beside its images, is moved with them and then
gets mistakes. ``draw`` decides everything and returns plain numbers; ``apply`` holds no randomness but a noise seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import cos, radians, sin
from typing import TYPE_CHECKING

import numpy as np

from ...core.bounds import bounded

if TYPE_CHECKING:
    from torch import Tensor

    from ._draw import Params


@dataclass(frozen=True)
class Mistakes:
    """In the label map of an earlier stage. A ``..._label_probability`` is per label of a patch that was chosen."""

    change_probability: float = 0.4
    """A label is dilated, eroded, opened or closed, each equally often."""
    change_label_probability: float = 0.5
    radius: tuple[float, float] = (1.0, 8.0)
    """Voxels, of the ball with which that is done."""
    removal_probability: float = 0.2
    """One connected part of a label becomes background."""
    removal_label_probability: float = 0.5
    removal_below: float = 0.15
    """Share of the patch below which a part is small enough to be removed."""

    def __post_init__(self) -> None:
        _check_probabilities(self)
        _check_range(self, "radius", most=1000)
        bounded(self, "removal_below", least=0, most=1)


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
    mistakes: Mistakes = field(default_factory=Mistakes)

    def __post_init__(self) -> None:
        for name in ("scaling", "blur_sigma", "brightness", "contrast", "gamma"):
            _check_range(self, name, most=100)
        _check_range(self, "noise_variance", most=1e6)
        _check_range(self, "low_resolution", most=1)
        bounded(self, "rotation_degrees", least=0, most=360)
        bounded(self, "loaded_scale", least=0.1, most=1)
        bounded(self, "masked_channels", least=0)
        _check_probabilities(self)

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
        prior_labels: int = 0,
    ) -> Params:
        """Everything random about one batch as plain numbers. ``mirror_axes`` count the patch's own axes.

        ``prior_labels`` is the number of labels, without background, of a label map that comes in with the images.
        """
        from ._draw import draw

        return draw(self, generator, batch, channels, tuple(mirror_axes), dimensions, prior_labels)

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

    def apply_to_prior(self, prior: Sequence[Tensor], params: Params, patch_size: tuple[int, ...]) -> Tensor:
        """The label maps of an earlier stage, each ``(*loaded)``, to ``(B, *patch)``: moved as their images, with
        mistakes."""
        from ._damage import apply_damage
        from ._spatial import resample_patches

        _, moved = resample_patches([each.new_empty((0, *each.shape)) for each in prior], prior, params, patch_size)
        return apply_damage(moved, params.damage, self.mistakes.removal_below)


def _check_probabilities(record: Spec | Mistakes) -> None:
    bounded(record, *(name for name in vars(record) if name.endswith("probability")), least=0, most=1)


def _check_range(record: Spec | Mistakes, name: str, most: float) -> None:
    bounded(record, name, least=0, most=most)
    low, high = getattr(record, name)
    if low > high:
        raise ValueError(f"{name} must be a range low..high, found {low:g}..{high:g}")
