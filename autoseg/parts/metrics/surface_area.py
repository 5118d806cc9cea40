"""Surface scores that weigh each piece of a surface by its area, as published tables mostly do.

Surfaces run half way between voxels inside and outside (``_surfels.py``), so a slanted surface weighs no more than a
straight one, and on voxels that are no cubes each face weighs what it measures:

* ``nsd_area_<tolerance>mm``: the share of both surfaces' areas not farther from the other than the tolerance (Nikolov
  et al. 2018, arXiv 1809.04430);
* ``hd95_area_mm``: the larger of the two distances that 95 % of a surface's area do not exceed.

Two empty masks give NaN; against one empty mask the distance is infinite and the surface Dice is 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.extent import Extent
from ._surfels import Surfels
from .surface import nearest


@dataclass(frozen=True)
class Spec:
    """Distances between the surfaces of two masks on one grid, weighed by area."""

    of_probabilities: ClassVar[bool] = False
    tolerance_mm: float = 1.0
    """Deviation that counts as agreement."""

    def __post_init__(self) -> None:
        if not self.tolerance_mm >= 0:
            raise ValueError(f"tolerance_mm must not be negative, found {self.tolerance_mm}")

    def score(
        self, reference: np.ndarray, prediction: np.ndarray, spacing: Sequence[float], image: Extent | None = None
    ) -> dict[str, float]:
        """Scores of two bool arrays of one shape; ``spacing`` in mm, one number per axis."""
        nsd, hd95 = self._compare(Surfels.of(reference, spacing), Surfels.of(prediction, spacing))
        return {f"nsd_area_{self.tolerance_mm:g}mm": nsd, "hd95_area_mm": hd95}

    def _compare(self, reference: Surfels, prediction: Surfels) -> tuple[float, float]:
        if not len(reference.areas) and not len(prediction.areas):
            return math.nan, math.nan
        if not len(reference.areas) or not len(prediction.areas):
            return 0.0, math.inf
        there, back = nearest(reference.points, prediction.points), nearest(prediction.points, reference.points)
        within = self.tolerance_mm + 1e-6  # as in surface.py
        agreeing = reference.areas[there <= within].sum() + prediction.areas[back <= within].sum()
        hd95 = max(reference.percentile(there), prediction.percentile(back))
        return float(agreeing / (reference.areas.sum() + prediction.areas.sum())), hd95
