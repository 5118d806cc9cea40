"""Receiver operating characteristic of a label's probability, voxel by voxel, and the area under it.

* ``auc``: the probability that a voxel of the label has a higher one than a voxel without it, equal ones counting half
  (Hanley and McNeil 1982); exact for the 65536 probabilities that are told apart;
* ``sensitivity_at_<threshold>``, ``specificity_at_<threshold>``: where all voxels with this probability or more are
  given the label. The curve runs through these points.

As ``specificity`` in ``confusion.py``, it depends on how much background the image shows: a small structure has an AUC
near 1 even where its Dice is low. It is NaN where the reference holds the label nowhere, or everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.extent import Extent

ONE = (1 << 16) - 1  # the code of probability 1
AT_ONCE = 1 << 20  # voxels: counting makes 64-bit numbers of them
THRESHOLDS = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class Spec:
    """How well the probability of a label tells its voxels from all others."""

    of_probabilities: ClassVar[bool] = True
    thresholds: tuple[float, ...] = THRESHOLDS
    """Probabilities, above 0 and at most 1."""

    def __post_init__(self) -> None:
        if not all(0 < threshold <= 1 for threshold in self.thresholds):
            raise ValueError(f"thresholds must be above 0 and at most 1, found {self.thresholds!r:.100}")

    def score(
        self, reference: np.ndarray, prediction: np.ndarray, spacing: Sequence[float], image: Extent | None = None
    ) -> dict[str, float]:
        """Scores of probabilities in parts of 65535 and a bool array of one shape."""
        inside, everywhere = counted(prediction[reference]), counted(prediction)
        outside = everywhere - inside
        true, false = inside.sum(), outside.sum()
        below = np.cumsum(outside) - outside / 2  # of each code: voxels outside that have a smaller one, half of equals
        scores = {"auc": _ratio(inside @ below, true * false)}
        for threshold in self.thresholds:
            least = math.ceil(threshold * ONE - 1e-6)
            scores[f"sensitivity_at_{threshold:g}"] = _ratio(inside[least:].sum(), true)
            scores[f"specificity_at_{threshold:g}"] = _ratio(outside[:least].sum(), false)
        return scores


def counted(codes: np.ndarray) -> np.ndarray:
    """How many of them are 0, 1, ..., 65535: float64 (65536,)."""
    flat, found = codes.reshape(-1), np.zeros(ONE + 1)
    for start in range(0, flat.size, AT_ONCE):
        found += np.bincount(flat[start : start + AT_ONCE], minlength=ONE + 1)
    return found


def _ratio(numerator: float, denominator: float) -> float:
    return float(numerator / denominator) if denominator else math.nan
