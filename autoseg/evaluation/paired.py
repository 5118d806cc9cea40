"""Whether one way to predict is better than another on the same cases."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.estimate import Estimate
from .counts import overall, per_case
from .resampling import FEWEST, drawn_weights, interval, known_mean, patients_with_number, weighted_means

SURE = 0.05  # a difference with a smaller p is taken for one
EQUAL = 1e-9  # rounding
MOST_EXACT = 50  # the normal approximation is too sure of few; scipy's own choice takes seconds for a dozen with ties


@dataclass(frozen=True)
class Paired:
    """Dice of one minus Dice of another."""

    difference: Estimate
    """Of the mean over labels of the means over cases, with its 95 % interval, patients resampled."""
    better: int
    worse: int
    """Patients by their mean Dice; in the others both are equal. Each case is a patient where none are named."""
    p: float | None
    """Wilcoxon's signed-rank test of the patients' differences, two-sided, not corrected for how many comparisons are
    made; None without a difference in any patient."""

    def surely_better(self, level: float = SURE) -> bool:
        """Whether the interval lies above 0 and p below ``level``.

        Of few patients the interval alone says too much: three that gain have one above 0, though chance alone lets
        three gain once in eight times.
        """
        low = self.difference.low
        return low is not None and low > 0 and self.p is not None and self.p < level


def paired(one: np.ndarray, other: np.ndarray, patients: np.ndarray | None = None, seed: int = 0) -> Paired:
    """Compares Dice (cases, labels) of two predictions of the same cases; NaN where a label has none.

    ``patients``: (cases,) numbers that say whose the cases are; None: each case is a patient.
    """
    patients = np.arange(len(one)) if patients is None else np.unique(patients, return_inverse=True)[1]
    differences = _by_patient(one, other, patients)
    better, worse = int((differences > EQUAL).sum()), int((differences < -EQUAL).sum())
    return Paired(_estimate(one, other, patients, seed), better, worse, _p(differences[np.abs(differences) > EQUAL]))


def _by_patient(one: np.ndarray, other: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """(patients with a number,) mean differences of their cases.

    A label that is in no reference, and predicted by one of both only, has Dice 0 there and none in the other, which is
    right: it counts as 1.
    """
    missing = np.isnan(one), np.isnan(other)
    first = np.where(missing[0] & ~missing[1], 1.0, one)
    second = np.where(missing[1] & ~missing[0], 1.0, other)
    by_case = per_case(first - second)
    belongs = np.equal.outer(np.arange(patients.max() + 1), patients).astype(float)
    by_patient = weighted_means(belongs, by_case)
    return by_patient[~np.isnan(by_patient)]


def _estimate(one: np.ndarray, other: np.ndarray, patients: np.ndarray, seed: int) -> Estimate:
    known = ~(np.isnan(one) & np.isnan(other)).all(axis=1)
    cases = int(known.sum())
    mean = float(overall(one) - overall(other)) if cases else float("nan")
    if np.isnan(mean):
        return Estimate(None, None, None, cases)
    count = int(patients_with_number(known, patients))
    if count < FEWEST:
        return Estimate(mean, None, None, cases)
    weights = drawn_weights(patients, seed, "paired bootstrap")
    resampled = [known_mean(weighted_means(weights, scores), axis=1) for scores in (one, other)]
    return Estimate(mean, *interval(resampled[0] - resampled[1], count), cases)


def _p(differences: np.ndarray) -> float | None:
    """Wilcoxon 1945; for up to MOST_EXACT differences exact but for ties, whose ranks are averaged."""
    from scipy.stats import wilcoxon

    method = "exact" if len(differences) <= MOST_EXACT else "approx"
    return float(wilcoxon(differences, method=method).pvalue) if len(differences) else None
