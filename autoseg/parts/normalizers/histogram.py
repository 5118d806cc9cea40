"""Histogram standardisation: one scale for the MR images of one sequence, whatever their scanner.

Nyul and Udupa, *On standardizing the MR image intensity scale* (MRM 1999), with the deciles as landmarks of Nyul, Udupa
and Zhang (IEEE TMI 2000) and the 1st and 99th percentile as ends. Each image's landmarks are mapped upon those of the
standard scale, linearly in between; beyond the ends it goes on with the slope from end to end, so that air and outliers
stay in proportion. The standard scale is learned from the training images and is part of the plan, so prediction needs
no fingerprint. It is shifted and scaled to mean 0 and standard deviation 1, as a z-score would be.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ...core.bounds import bounded

PERCENTILES = (1, 10, 20, 30, 40, 50, 60, 70, 80, 90, 99)
LARGEST = 1e6  # of landmarks; those that are learned are about -3 to 3
SMALLEST_RANGE = 1e-8  # between an image's outer landmarks: a constant channel stays finite


@dataclass(frozen=True)
class Spec:
    """The standard scale, and where landmarks are taken."""

    landmarks: tuple[float, ...]
    """Where the ``PERCENTILES`` of every image go, ascending."""
    mask: bool = False
    """Whether landmarks are those of the nonzero region (say the brain), outside of which voxels stay 0; otherwise
    those of the voxels above the image's mean, which in a picture with air around the body is the body."""

    def __post_init__(self) -> None:
        if len(self.landmarks) != len(PERCENTILES):
            raise ValueError(f"landmarks must be {len(PERCENTILES)} numbers, found {len(self.landmarks)}")
        bounded(self, "landmarks", least=-LARGEST, most=LARGEST)
        if any(low > high for low, high in zip(self.landmarks, self.landmarks[1:])):
            raise ValueError(f"landmarks must ascend, found {self.landmarks}")

    def apply(self, channel: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        """A standardised float32 copy of ``channel`` (z, y, x); ``mask`` (z, y, x) is needed when ``self.mask``."""
        assert mask is not None or not self.mask, "landmarks of the nonzero region need the mask"
        inside = channel[mask] if self.mask else channel[channel > channel.mean(dtype=np.float64)]
        found = np.percentile(inside.astype(np.float64), PERCENTILES) if inside.size else np.zeros(len(PERCENTILES))
        result = np.zeros(channel.shape, np.float32)
        for number, plane in enumerate(channel):  # one at a time: np.interp works in float64
            standard = self._mapped(plane.astype(np.float64), found)
            result[number] = np.where(mask[number], standard, 0) if self.mask and mask is not None else standard
        return result

    def _mapped(self, values: np.ndarray, found: np.ndarray) -> np.ndarray:
        """``values`` of an image with the landmarks ``found`` on the standard scale."""
        if not found[-1] - found[0] > SMALLEST_RANGE:
            return values - found[0]
        heights, place = np.unique(found, return_inverse=True)  # of landmarks that coincide, the mean counts
        standard = np.bincount(place, self.landmarks) / np.bincount(place)
        slope = (standard[-1] - standard[0]) / (heights[-1] - heights[0])
        mapped = np.interp(values, heights, standard)
        mapped += slope * (np.minimum(values - heights[0], 0) + np.maximum(values - heights[-1], 0))
        return mapped


def learned(images: Iterable[Sequence[float]], *, mask: bool) -> Spec:
    """The standard scale of training images, each given by its landmarks. Raises ValueError where none has contrast."""
    rows = np.array([image for image in images if len(image) and image[-1] - image[0] > SMALLEST_RANGE], np.float64)
    if not len(rows):
        raise ValueError("no image has contrast")
    scale = ((rows - rows[:, :1]) / (rows[:, -1:] - rows[:, :1])).mean(axis=0)
    below, above, share = scale[:-1], scale[1:], np.diff(PERCENTILES) / (PERCENTILES[-1] - PERCENTILES[0])
    mean = float(share @ (below + above) / 2)  # were values spread evenly between landmarks
    square = float(share @ (below**2 + below * above + above**2) / 3)
    std = max(np.sqrt(max(square - mean**2, 0.0)), SMALLEST_RANGE)
    return Spec(tuple(((scale - mean) / std).tolist()), mask)
