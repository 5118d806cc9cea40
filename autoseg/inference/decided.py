"""Where a model decides for each of its labels, in a few bytes per voxel, however many labels there are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Decided:
    """On the network's grid."""

    exclusive: bool
    stored: np.ndarray
    """Of exclusive labels (z, y, x) int16, the head with the largest logit; else (bytes, z, y, x) uint8, a bit for each
    head: whether its logit is positive."""

    @classmethod
    def of_slices(cls, slices: Iterator[np.ndarray], heads: int, shape: tuple[int, ...], exclusive: bool) -> Decided:
        """``slices`` are logits (y, x, heads), one for each z of ``shape``."""
        stored = np.zeros(shape, np.int16) if exclusive else np.zeros((-(-heads // 8), *shape), np.uint8)
        for z, logits in enumerate(slices):
            if exclusive:
                stored[z] = logits.argmax(-1)
            else:
                stored[:, z] = np.moveaxis(np.packbits(logits > 0, axis=-1), -1, 0)
        return cls(exclusive, stored)

    def of(self, head: int) -> np.ndarray:
        """(z, y, x) bool."""
        if self.exclusive:
            return self.stored == head
        found: np.ndarray = (self.stored[head // 8] & (128 >> head % 8)) > 0
        return found
