"""What methods share that start from seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np

from ...core.evidence import Hints, LabelledImage
from ._settings import refuse_impossible

Self = TypeVar("Self", bound="Seeded")
USUAL = (0.3, 0.1, 0.6)


@dataclass(frozen=True)
class Seeded:
    """Seeds are the voxels at which intensity and place make a label surest."""

    largest: ClassVar[int | None] = 1 << 23
    slice_by_slice: ClassVar[bool] = False
    one_channel: ClassVar[bool] = True

    seeds: float | None = None
    """How many voxels of a label are seeds, as a share of its usual size; None: 0.1, 0.3 and 0.6 are tried."""
    sure: float = 0.95
    """Probability from which on a voxel is a seed of the background."""

    def __post_init__(self) -> None:
        refuse_impossible(self)

    def fitted(self: Self, cases: Sequence[LabelledImage]) -> Self:
        return self

    def seeded(self, hints: Hints) -> np.ndarray:
        return hints.seeds(USUAL[0] if self.seeds is None else self.seeds, self.sure)


def gradient(channel: np.ndarray, spacing: Sequence[float], sigma: float) -> np.ndarray:
    """Size of the gradient per mm, float32, of a channel smoothed over ``sigma`` voxels of the shortest axis."""
    from scipy.ndimage import gaussian_gradient_magnitude

    finest = min(spacing)
    found = gaussian_gradient_magnitude(channel.astype(np.float32), [sigma * finest / edge for edge in spacing])
    return np.asarray(found, np.float32)
