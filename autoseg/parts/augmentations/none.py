"""No augmentation: the patch as it was read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Spec:
    """Nothing to choose."""

    masked_channels: ClassVar[tuple[int, ...]] = ()

    def loaded_shape(self, patch_size: tuple[int, ...]) -> tuple[int, ...]:
        """The most that is read of a patch: the patch."""
        return patch_size

    def needed_shape(self, params: None, patch: int, patch_size: tuple[int, ...]) -> tuple[int, ...]:
        """What is to be read for one patch: the patch."""
        return patch_size

    def draw(
        self,
        generator: np.random.Generator,
        *,
        batch: int,
        channels: int,
        mirror_axes: Sequence[int],
        dimensions: int,
    ) -> None:
        """Draws nothing."""

    def apply(
        self, images: Sequence[Tensor], targets: Sequence[Tensor], params: None, patch_size: tuple[int, ...]
    ) -> tuple[Tensor, Tensor]:
        """Images as float32, targets unchanged, each in one tensor."""
        import torch

        return torch.stack(list(images)).float(), torch.stack(list(targets))

    def move_images(self, images: Sequence[Tensor], params: None, patch_size: tuple[int, ...]) -> Tensor:
        """As float32, otherwise unchanged, in one tensor."""
        import torch

        return torch.stack(list(images)).float()

    def move_labels(self, labels: Sequence[Tensor], params: None, patch_size: tuple[int, ...]) -> Tensor:
        """Unchanged, in one tensor."""
        import torch

        return torch.stack(list(labels))
