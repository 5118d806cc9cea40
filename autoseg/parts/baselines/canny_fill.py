"""Canny's edges (Canny 1986), and what closed edges enclose: slice by slice, since surfaces in 3-D seldom close.

Each enclosed region becomes the label, or the background, that intensity and place make likeliest on average. Slices
lie across the axis along which voxels are longest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.evidence import Hints, LabelledImage
from ._settings import candidates, refuse_impossible

WEAK, STRONG = 0.8, 0.9  # quantiles of the gradient: edges begin at strong ones and go on along weak ones
USUAL = (1.0, 2.0, 3.0)


@dataclass(frozen=True)
class Spec:
    """Of one channel, slice by slice."""

    largest: ClassVar[int | None] = 1 << 24
    slice_by_slice: ClassVar[bool] = True
    one_channel: ClassVar[bool] = True

    sigma: float | None = None
    """Voxels over which a slice is smoothed first; None: 1, 2 and 3 are tried."""

    def __post_init__(self) -> None:
        refuse_impossible(self)

    def candidates(self) -> tuple[Spec, ...]:
        return candidates(self, sigma=USUAL)

    def fitted(self, cases: Sequence[LabelledImage]) -> Spec:
        return self

    def segment(self, image: np.ndarray, spacing: Sequence[float], hints: Hints | None) -> np.ndarray:
        assert hints is not None
        channel, chances = image[0], hints.probabilities
        if channel.ndim == 2:
            return self._slice(channel, chances)
        axis = int(np.argmax(spacing))
        slices = zip(np.moveaxis(channel, axis, 0), np.moveaxis(chances, axis + 1, 0))
        return np.moveaxis(np.stack([self._slice(flat, chance) for flat, chance in slices]), 0, axis)

    def _slice(self, channel: np.ndarray, chances: np.ndarray) -> np.ndarray:
        from scipy.ndimage import binary_fill_holes, label
        from skimage.feature import canny
        from skimage.segmentation import expand_labels

        nothing = np.zeros(channel.shape, np.int32)
        if min(channel.shape) < 3 or not np.ptp(channel):
            return nothing
        sigma = USUAL[0] if self.sigma is None else self.sigma
        edges = canny(channel, sigma, WEAK, STRONG, use_quantiles=True)
        regions, count = label(binary_fill_holes(edges) & ~edges)
        if not count:
            return nothing
        flat = regions.reshape(-1)
        sums = np.stack([np.bincount(flat, each.reshape(-1), count + 1) for each in chances])
        of_region = sums.argmax(0)
        of_region[0] = 0
        grown = expand_labels(regions, 1)  # half of an edge belongs to what it encloses
        return of_region[grown].astype(np.int32)
