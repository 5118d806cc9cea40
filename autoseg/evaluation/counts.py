"""Dice from voxel counts: enough to compare hundreds of label maps that are never kept.

Of each label, region or mask three numbers are counted: voxels that are predicted and true, predicted, and true. The
rule for empty labels is that of ``scores.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from ..core.labels import Labels
from ..core.masks import MaskLabels
from .resampling import known_mean


def overlaps(
    prediction: np.ndarray, reference: np.ndarray, labels: Labels, times: np.ndarray | None = None
) -> np.ndarray:
    """Voxels (labels in the order of ``foreground``, 3), int64, of two index maps of one shape: in both, in the
    prediction, in the reference; ignored ones are left out. Each counts once, or as many ``times`` (of that shape)."""
    if isinstance(labels, MaskLabels):
        pairs = zip(labels.split(prediction), labels.split(reference))
        count = np.count_nonzero if times is None else partial(np.vdot, times)
        counts = [[count(each) for each in (one & other, one, other)] for one, other in pairs]
        return np.array(counts, np.int64)
    size = len(labels.values)
    together = prediction.reshape(-1).astype(np.int64) * (size + 1) + reference.reshape(-1)
    counted = np.bincount(together, None if times is None else times.reshape(-1), minlength=size * (size + 1))
    matrix = counted.astype(np.int64).reshape(size, size + 1)[:, :size]
    if labels.exclusive:
        return np.stack([matrix.diagonal(), matrix.sum(1), matrix.sum(0)], 1)[1:]
    table = labels.index_table.astype(np.int64)
    return np.stack([((table @ matrix) * table).sum(1), table @ matrix.sum(1), table @ matrix.sum(0)], 1)


def dice(counts: np.ndarray, labels: Labels) -> np.ndarray:
    """Dice (..., labels in the order of ``foreground``) of ``overlaps`` (..., labels, 3).

    NaN where a label is neither predicted nor there.
    """
    both, predicted, true = np.moveaxis(counts, -1, 0)
    total = predicted + true
    scores: np.ndarray = np.divide(2.0 * both, total, out=np.full(total.shape, np.nan), where=total > 0)
    return scores


def mean_over_cases(scores: np.ndarray) -> np.ndarray:
    """(..., cases, labels) to (..., labels); NaN left out, NaN where no case has a number."""
    return known_mean(scores, axis=-2)


def overall(scores: np.ndarray) -> np.ndarray:
    """(..., cases, labels) to (...): the mean over labels of their means over cases, as in ``scores.Summary``."""
    return mean_over_cases(mean_over_cases(scores)[..., None])[..., 0]


def per_case(scores: np.ndarray) -> np.ndarray:
    """(..., cases, labels) to (..., cases): the mean over the labels that have a number."""
    return mean_over_cases(np.swapaxes(scores, -1, -2))


def named(scores: np.ndarray, keys: Sequence[str], labels: Labels) -> dict[str, dict[str, dict[str, float]]]:
    """(cases, labels) as ``scores.CaseScores`` by case, with Dice as the only metric."""
    return {
        key: {label: {"dice": float(value)} for label, value in zip(labels.foreground, row)}
        for key, row in zip(keys, scores)
    }
