"""Lesion by lesion, as the BraTS challenges score since 2023: a missed small lesion weighs as much as a large one.

A lesion of the reference is what lies in one connected part (faces, edges, corners) of the reference after it has grown
by ``dilation_mm``, so crumbs beside a lesion are no lesions of their own. The parts of the prediction that reach into
the grown lesion are its prediction, each of them whole; a part that reaches into none is a false positive. The
definition: https://www.synapse.org/Synapse:syn51156910/discussion/threadId=10357 (BraTS 2023). Growing takes
``dilation_mm`` over the spacing steps along each axis, rounded down, each to voxels that share a face or an edge. (The
package brats-evaluation of 2025 and later matches each lesion with one part and grows nothing: other numbers.)

* ``lesion_dice``, ``lesion_hd95_mm``: the means over lesions and false positives; a missed lesion and a false positive
  have Dice 0 and the image's diagonal as distance (in the challenge 374 mm, which is about that of its images). HD95 is
  that of ``surface_area.py``;
* ``lesion_sensitivity``: the share of lesions that are found, which means that any part of the prediction reaches into
  them; ``lesion_precision``: found lesions / (found lesions + false positives); ``lesion_f1``: the F1 score of the
  detection, 2 found / (2 found + missed + false positives);
* ``lesions``, ``missed_lesions``, ``false_positive_lesions``: how many of this case.

Lesions that are not larger than ``minimum_mm3`` (in 2-D mm²) count for nothing, nor do the parts that reach into them.
Where there are neither lesions nor false positives the scores are NaN (in the challenge 1, and 0 mm) and the numbers 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.components import components, sizes_of
from ...core.extent import Extent
from ._surfels import Surfels
from .surface import nearest

FARTHEST = 1000.0  # mm


@dataclass(frozen=True)
class Spec:
    """Scores of lesions that are matched after growing the reference."""

    of_probabilities: ClassVar[bool] = False
    dilation_mm: float = 3.0
    """How far the reference grows; in the challenge 3 (gliomas, children, Africa) or 1 (meningiomas, metastases)."""
    minimum_mm3: float = 0.0
    """Lesions up to this volume count for nothing; in the challenge 50 or, of metastases, 2."""

    def __post_init__(self) -> None:
        if not 0 <= self.dilation_mm <= FARTHEST:
            raise ValueError(f"dilation_mm must be from 0 to {FARTHEST:g}, found {self.dilation_mm}")
        if not self.minimum_mm3 >= 0:
            raise ValueError(f"minimum_mm3 must not be negative, found {self.minimum_mm3}")

    def score(
        self, reference: np.ndarray, prediction: np.ndarray, spacing: Sequence[float], image: Extent | None = None
    ) -> dict[str, float]:
        """Scores of two bool arrays of one shape; ``spacing`` in mm, one number per axis."""
        diagonal = (image or Extent.of(reference.shape, spacing)).diagonal_mm
        if not reference.any() and not prediction.any():
            return _scores([], [], 0, 0, diagonal)
        grown, parts = components(dilated(reference, spacing, self.dilation_mm)), components(prediction)
        true = np.where(reference, grown, 0)
        sizes, of_parts = sizes_of(true), sizes_of(parts)
        matches = _matches(grown, parts, len(sizes), len(of_parts))
        wrong = len(of_parts) - 1 - len({part for found in matches for part in found})
        counted = [lesion for lesion in range(1, len(sizes)) if sizes[lesion] * math.prod(spacing) > self.minimum_mm3]
        found = [lesion for lesion in counted if matches[lesion]]
        hits = np.bincount(true[prediction], minlength=len(sizes))
        dice = [2 * hits[lesion] / (sizes[lesion] + of_parts[matches[lesion]].sum()) for lesion in found]
        distances = _distances(true, parts, [(lesion, matches[lesion]) for lesion in found], spacing)
        return _scores(dice, distances, len(counted) - len(found), wrong, diagonal)


def _scores(
    dice: Sequence[float], distances: Sequence[float], missed: int, wrong: int, diagonal: float
) -> dict[str, float]:
    """Of lesions that were found, with so many that were not and false positives."""
    found = len(dice)
    all_ = found + missed + wrong
    return {
        "lesion_dice": _ratio(sum(dice), all_),
        "lesion_hd95_mm": _ratio(sum(distances) + (missed + wrong) * diagonal, all_),
        "lesion_sensitivity": _ratio(found, found + missed),
        "lesion_precision": _ratio(found, found + wrong),
        "lesion_f1": _ratio(2 * found, 2 * found + missed + wrong),
        "lesions": float(found + missed),
        "missed_lesions": float(missed),
        "false_positive_lesions": float(wrong),
    }


def dilated(mask: np.ndarray, spacing: Sequence[float], by_mm: float) -> np.ndarray:
    """The mask and what lies around it, ``by_mm`` far along each axis and at most twice as far along all together.

    A box that holds the mask and all that is compared with it is enough: what meets outside of it meets inside, too.
    """
    from scipy.ndimage import binary_dilation, generate_binary_structure

    steps = [min(size, int(by_mm / step + 1e-6)) for size, step in zip(mask.shape, spacing)]
    structure, grown = generate_binary_structure(mask.ndim, 2), mask
    for number in range(max(steps, default=0)):
        inside = tuple(slice(None) if number < most else slice(1, 2) for most in steps)
        grown = binary_dilation(grown, structure[inside])
    return grown


def _matches(grown: np.ndarray, parts: np.ndarray, lesions: int, several: int) -> list[list[int]]:
    """For each lesion, counted from 1, the parts of the prediction that reach into it."""
    meet = (grown > 0) & (parts > 0)
    pairs = np.unique(grown[meet].astype(np.int64) * several + parts[meet])
    matches: list[list[int]] = [[] for _ in range(lesions)]
    for pair in pairs.tolist():
        matches[pair // several].append(pair % several)
    return matches


def _distances(
    true: np.ndarray, parts: np.ndarray, matched: Sequence[tuple[int, list[int]]], spacing: Sequence[float]
) -> list[float]:
    """HD95 in mm between each lesion and its parts. Neither lesions nor parts touch each other, so all surfaces are
    found at once."""
    if not matched:
        return []
    lesions = Surfels.of(true, spacing).split(int(true.max()))
    pieces = Surfels.of(parts, spacing).split(int(parts.max()))
    distances = []
    for lesion, numbers in matched:
        one, other = lesions[lesion], Surfels.joined([pieces[number] for number in numbers])
        there, back = nearest(one.points, other.points), nearest(other.points, one.points)
        distances.append(max(one.percentile(there), other.percentile(back)))
    return distances


def _ratio(numerator: float, denominator: int) -> float:
    return float(numerator) / denominator if denominator else math.nan
