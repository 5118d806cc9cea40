"""Dice from voxel counts: enough to compare hundreds of label maps that are never kept.

A confusion matrix holds voxels by predicted index (rows) and reference index (columns), both of ``Labels``. The rule
for empty labels is that of ``scores.py``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..core.labels import Labels
from .resampling import known_mean


def confusion(prediction: np.ndarray, reference: np.ndarray, labels: Labels) -> np.ndarray:
    """Voxels (predicted index, reference index), int64, of two index maps of one shape; ignored ones are left out."""
    size = len(labels.values)
    together = prediction.reshape(-1).astype(np.int64) * (size + 1) + reference.reshape(-1)
    counts = np.bincount(together, minlength=size * (size + 1))
    return counts.reshape(size, size + 1)[:, :size]


def dice(matrices: np.ndarray, labels: Labels) -> np.ndarray:
    """Dice (..., labels in the order of ``foreground``) of confusion matrices (..., predicted, reference).

    NaN where a label is neither predicted nor there.
    """
    scores = []
    for values in labels.foreground.values():
        members = [labels.values.index(value) for value in values]
        predicted, true = matrices[..., members, :].sum((-2, -1)), matrices[..., members].sum((-2, -1))
        both = matrices[..., members, :][..., members].sum((-2, -1))
        total = predicted + true
        scores.append(np.divide(2.0 * both, total, out=np.full(total.shape, np.nan), where=total > 0))
    return np.stack(scores, axis=-1)


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
