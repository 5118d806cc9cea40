"""Accuracy, specificity and volumetric overlap error of one label's voxels against all others.

With TP, FP, FN and TN, the voxels of the image that are rightly and wrongly labelled and rightly and wrongly not (Taha
and Hanbury, "Metrics for evaluating 3D medical image segmentation", BMC Medical Imaging 2015):

* ``accuracy`` = (TP + TN) / all voxels, ``specificity`` = TN / (TN + FP). Both grow with the background around a
  structure and lie near 1 for small ones, whatever is predicted: they compare images of one field of view only;
* ``overlap_error_percent`` = 100 (1 - IoU), the volumetric overlap error (Heimann et al. 2009).

Sensitivity is ``recall`` in ``overlap.py``, and F1 is ``dice``. A label that neither mask holds has no score: NaN.
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
    """Shares of the voxels of the whole image."""

    of_probabilities: ClassVar[bool] = False

    def score(
        self, reference: np.ndarray, prediction: np.ndarray, spacing: Sequence[float], image: Extent | None = None
    ) -> dict[str, float]:
        """Scores of two bool arrays of one shape."""
        voxels = (image or Extent.of(reference.shape, spacing)).voxels
        either, both = (int(np.count_nonzero(each)) for each in (reference | prediction, reference & prediction))
        if not either:
            return dict.fromkeys(("accuracy", "specificity", "overlap_error_percent"), math.nan)
        negative = voxels - int(np.count_nonzero(reference))
        return {
            "accuracy": (voxels - either + both) / voxels,
            "specificity": (voxels - either) / negative if negative else math.nan,
            "overlap_error_percent": 100 * (1 - both / either),
        }
