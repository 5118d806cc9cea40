"""How well two masks overlap: Dice, IoU, precision, recall, volume error. All follow from three voxel counts.

Definitions as in Taha and Hanbury, "Metrics for evaluating 3D medical image segmentation", BMC Medical Imaging 2015.
A ratio whose denominator is zero is undefined and given as NaN.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Spec:
    """Overlap of two masks on one grid."""

    def score(self, reference: np.ndarray, prediction: np.ndarray, spacing: Sequence[float]) -> dict[str, float]:
        """Scores of two bool arrays of one shape. ``volume_error`` is (predicted - true) / true volume."""
        both = int(np.count_nonzero(reference & prediction))
        true, predicted = int(np.count_nonzero(reference)), int(np.count_nonzero(prediction))
        return {
            "dice": _ratio(2 * both, true + predicted),
            "iou": _ratio(both, true + predicted - both),
            "precision": _ratio(both, predicted),
            "recall": _ratio(both, true),
            "volume_error": _ratio(predicted - true, true),
            "reference_voxels": float(true),
            "prediction_voxels": float(predicted),
        }


def _ratio(numerator: int, denominator: int) -> float:
    return numerator / denominator if denominator else math.nan
