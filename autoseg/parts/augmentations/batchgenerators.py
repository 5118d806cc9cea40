"""The augmentations of ``standard`` made by the batchgenerators library, patch by patch in numpy on the processor.

Slower, and nobody else's work was shared in making it: the two check each other. Take it to see whether a result hangs
on how augmentations are computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from . import standard

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Spec(standard.Spec):
    """Fields as in ``standard``. Brightness is uniform over its range, not over each side of 1, which is the same
    where the range lies evenly around 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mirror_probability > 0.5:
            raise ValueError(f"mirror_probability must not exceed 0.5 here, found {self.mirror_probability}")

    def needed_shape(self, params: Any, patch: int, patch_size: tuple[int, ...]) -> tuple[int, ...]:
        """``patch_size``, or ``loaded_shape`` for a patch that the library will rotate or scale."""
        from ._batchgenerators import is_moved

        return self.loaded_shape(patch_size) if is_moved(self, params, patch) else patch_size

    def draw(
        self,
        generator: np.random.Generator,
        *,
        batch: int,
        channels: int,
        mirror_axes: Sequence[int],
        dimensions: int,
    ) -> Any:
        """A seed per patch, from which the library draws as it applies."""
        from ._batchgenerators import draw

        return draw(self, generator, batch, channels, tuple(mirror_axes))

    def apply(
        self, images: Sequence[Tensor], targets: Sequence[Tensor], params: Any, patch_size: tuple[int, ...]
    ) -> tuple[Tensor, Tensor]:
        """Per patch ``(C, *loaded)`` and ``(*loaded)`` to float32 ``(B, C, *patch)``, label indices ``(B, *patch)``.

        Raises RecordError where channels are neighbouring slices: the library would change each by itself.
        """
        from ._batchgenerators import augment

        return augment(self, images, targets, params, patch_size)

    def move_images(self, images: Sequence[Tensor], params: Any, patch_size: tuple[int, ...]) -> Tensor:
        """Each ``(C, *loaded)`` to float32 ``(B, C, *patch)``: moved as the images of ``apply``."""
        from ._batchgenerators import move_images

        return move_images(self, images, params, patch_size)

    def move_labels(self, labels: Sequence[Tensor], params: Any, patch_size: tuple[int, ...]) -> Tensor:
        """Each ``(maps, *loaded)`` to ``(B, maps, *patch)``: moved as the targets of ``apply``."""
        from ._batchgenerators import move_labels

        return move_labels(self, labels, params, patch_size)
