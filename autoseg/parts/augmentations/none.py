"""No augmentation: the patch as it was read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Spec:
    """Nothing to choose."""

    def loaded_shape(self, patch_size: tuple[int, ...]) -> tuple[int, ...]:
        """The shape to read so that a patch of ``patch_size`` remains."""
        return patch_size

    def draw(
        self,
        generator: np.random.Generator,
        *,
        batch: int,
        channels: int,
        mirror_axes: Sequence[int],
        dimensions: int,
        prior_labels: int = 0,
    ) -> None:
        """Draws nothing."""

    def apply(
        self, images: Tensor, targets: Tensor, params: None, patch_size: tuple[int, ...]
    ) -> tuple[Tensor, Tensor]:
        """Images as float32, targets unchanged."""
        return images.float(), targets

    def apply_to_prior(self, prior: Tensor, params: None, patch_size: tuple[int, ...]) -> Tensor:
        """The label map of an earlier stage, unchanged."""
        return prior
