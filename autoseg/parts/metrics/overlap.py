"""How well two masks overlap: Dice, IoU, precision, recall, volumes and their difference. All follow from voxel counts.

Definitions as in Taha and Hanbury, "Metrics for evaluating 3D medical image segmentation", BMC Medical Imaging 2015.
Dice is the F1 score of the voxels, recall their sensitivity. A ratio whose denominator is zero is undefined and given
as NaN.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.extent import Extent


@dataclass(frozen=True)
class Spec:
    """Overlap of two masks on one grid."""

    of_probabilities: ClassVar[bool] = False

    def score(
        self, reference: np.ndarray, prediction: np.ndarray, spacing: Sequence[float], image: Extent | None = None
    ) -> dict[str, float]:
        """Scores of two bool arrays of one shape.

        ``volume_error_percent`` is the relative volume difference, 100 (predicted - true) / true.
        """
        both = int(np.count_nonzero(reference & prediction))
        true, predicted = int(np.count_nonzero(reference)), int(np.count_nonzero(prediction))
        voxel_ml = (image or Extent.of(reference.shape, spacing)).voxel_ml
        return {
            "dice": _ratio(2 * both, true + predicted),
            "iou": _ratio(both, true + predicted - both),
            "precision": _ratio(both, predicted),
            "recall": _ratio(both, true),
            "volume_error_percent": 100 * _ratio(predicted - true, true),
            "reference_ml": true * voxel_ml,
            "prediction_ml": predicted * voxel_ml,
            "reference_voxels": float(true),
            "prediction_voxels": float(predicted),
        }


def _ratio(numerator: int, denominator: int) -> float:
    return numerator / denominator if denominator else math.nan
