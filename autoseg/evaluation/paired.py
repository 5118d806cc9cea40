"""Whether one way to predict is better than another on the same cases."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.estimate import Estimate
from ..core.seeds import generator
from .scores import RESAMPLES


@dataclass(frozen=True)
class Paired:
    """Scores of one minus scores of another, case by case."""

    difference: Estimate
    """Mean with its 95 % bootstrap interval over the cases in which both have a number."""
    better: int
    worse: int
    """Cases; in the others both are equal."""
    p: float | None
    """Wilcoxon's signed-rank test, two-sided, not corrected for how many comparisons are made; None without a
    difference in any case."""


def paired(one: np.ndarray, other: np.ndarray, seed: int = 0) -> Paired:
    """Compares two scores of the same cases, (cases,); cases with NaN in either are left out."""
    differences = (one - other)[~np.isnan(one - other)]
    better, worse = int((differences > 0).sum()), int((differences < 0).sum())
    return Paired(_estimate(differences, seed), better, worse, _p(differences[differences != 0]))


def _estimate(differences: np.ndarray, seed: int) -> Estimate:
    count = len(differences)
    if count == 0:
        return Estimate(None, None, None, 0)
    mean = float(differences.mean())
    if count == 1:
        return Estimate(mean, None, None, 1)
    drawn = generator(seed, "paired bootstrap").integers(0, count, (RESAMPLES, count))
    low, high = np.percentile(differences[drawn].mean(1), [2.5, 97.5])
    return Estimate(mean, float(low), float(high), count)


def _p(differences: np.ndarray) -> float | None:
    """Wilcoxon 1945; exact for up to 50 differences without ties."""
    from scipy.stats import wilcoxon

    return float(wilcoxon(differences).pvalue) if len(differences) else None
