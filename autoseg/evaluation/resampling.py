"""How sure a mean over cases is: patients are drawn with replacement, not cases.

Scans of one patient resemble each other, so that they tell less than as many patients would. An interval that draws
cases takes them for independent and is too narrow; one that draws whole patients is not (the cluster bootstrap: Davison
and Hinkley 1997, section 3.8). Where nobody has said whose the cases are, each is a patient.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..core.seeds import generator

FEWEST = 3  # patients that have an interval: of two it could only be the one and the other
RESAMPLES = 2000  # the interval's ends then vary by about 1 % of its width from seed to seed


def patient_numbers(keys: Sequence[str], patients: Mapping[str, str]) -> np.ndarray:
    """(cases,) 0, 1, ... in the order in which patients first come; a case that ``patients`` lacks is one itself."""
    named = [(True, patients[key]) if key in patients else (False, key) for key in keys]
    numbers = {patient: number for number, patient in enumerate(dict.fromkeys(named))}
    return np.array([numbers[patient] for patient in named], np.int64)


def drawn_weights(patients: np.ndarray, seed: int, purpose: str) -> np.ndarray:
    """(resamples, cases): how often each case comes when as many patients as there are are drawn with replacement.

    ``patients``: (cases,), numbers from 0 without gaps.
    """
    count = int(patients.max()) + 1
    draws = generator(seed, purpose).multinomial(count, np.full(count, 1 / count), RESAMPLES)
    return draws[:, patients].astype(float)


def weighted_means(weights: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Means over cases, NaN left out: (resamples, cases) and (cases, ...) to (resamples, ...)."""
    known = ~np.isnan(numbers)
    sums, counts = np.tensordot(weights, np.where(known, numbers, 0), 1), np.tensordot(weights, known, 1)
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)


def known_mean(numbers: np.ndarray, axis: int) -> np.ndarray:
    """The mean of what is not NaN; NaN, without numpy's warning, where nothing is left."""
    known = ~np.isnan(numbers)
    sums, counts = np.where(known, numbers, 0).sum(axis), known.sum(axis)
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)


def patients_with_number(known: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """How many patients have a number in any of their cases: bool (cases, ...) to (...)."""
    found = np.zeros((int(patients.max()) + 1, *known.shape[1:]), bool)
    np.logical_or.at(found, patients, known)
    return found.sum(0)


def interval(resampled: np.ndarray, patients: int) -> tuple[float, float]:
    """The 95 % percentile interval (Efron 1979) of what the resamples give; resamples without a number are left out.

    For few patients it is too narrow by a factor that is known for means, so that percentiles further out are taken
    (Hesterberg 2015, "What teachers should know about the bootstrap", section 5.1: the expanded percentile interval).
    """
    from scipy.stats import norm, t

    share = float(norm.cdf(np.sqrt(patients / (patients - 1)) * t.ppf(0.025, patients - 1)))
    low, high = np.quantile(resampled[~np.isnan(resampled)], [share, 1 - share])
    return float(low), float(high)
