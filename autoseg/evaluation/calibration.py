"""Whether probabilities mean what they say: of the voxels that a network gives a label with 0.7, 70 % should have it.

For each label by itself voxels are put into 15 bins of equal width by the label's probability p, the m-th for
(m - 1) / 15 < p <= m / 15, 0 in the first. With n voxels in a bin, of which h have the label, and N in all,

    ECE = sum over bins of n / N * |h / n - mean p| = sum over bins of |h - sum of p| / N,

the expected calibration error (Naeini, Cooper and Hauskrecht, "Obtaining well calibrated probabilities using Bayesian
binning", AAAI 2015; bins as in Guo et al., "On calibration of modern neural networks", ICML 2017), here of each label
against all others (Kull et al., NeurIPS 2019).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .resampling import FEWEST, drawn_weights, interval

BINS = 15


@dataclass(frozen=True)
class Bins:
    """Voxels of one label, in bins by its probability."""

    voxels: tuple[int, ...]
    probability: tuple[float, ...]
    """The sum over the voxels."""
    hits: tuple[int, ...]
    """Voxels that have the label in the reference."""

    def __post_init__(self) -> None:
        if not len(self.voxels) == len(self.probability) == len(self.hits) == BINS:
            raise ValueError(f"there must be {BINS} bins")
        if any(not (0 <= hits <= voxels and 0 <= sums <= voxels) for voxels, sums, hits in self.rows()):
            raise ValueError("a bin cannot hold less than nothing, nor more hits or probability than voxels")

    def rows(self) -> Iterable[tuple[int, float, int]]:
        return zip(self.voxels, self.probability, self.hits)


@dataclass(frozen=True)
class Calibration:
    """Of validation cases; ``calibration.json``."""

    cases: dict[str, dict[str, Bins]]
    """Case to label."""


def binned(voxels: np.ndarray, hits: np.ndarray) -> Bins:
    """From counts (codes,) of the voxels with each code, and of those among them that have the label.

    Probabilities are parts of the last code, which is 255 or another multiple of 15: no rounding moves one to the next
    bin.
    """
    one = len(voxels) - 1
    codes = np.arange(one + 1)
    places = np.maximum(0, -(-codes * BINS // one) - 1)
    sums = [np.bincount(places, weights, BINS) for weights in (voxels, voxels * codes, hits)]
    return Bins(
        tuple(int(each) for each in sums[0]),
        tuple(float(each) / one for each in sums[1]),
        tuple(int(each) for each in sums[2]),
    )


def pooled(cases: Iterable[Bins]) -> Bins:
    """Those of all voxels together."""
    found = list(cases)
    voxels, hits = (tuple(map(sum, zip(*rows))) for rows in ([b.voxels for b in found], [b.hits for b in found]))
    return Bins(voxels, tuple(map(sum, zip(*(each.probability for each in found)))), hits)


def expected_error(bins: Bins, first: int = 0) -> float | None:
    """The ECE; of ``first`` 1 that of voxels outside of the lowest bin. None where there are none."""
    rows = list(bins.rows())[first:]
    total = sum(voxels for voxels, _, _ in rows)
    return sum(abs(hits - sums) for _, sums, hits in rows) / total if total else None


def error_interval(cases: Sequence[Bins], patients: np.ndarray, first: int = 0) -> tuple[float, float] | None:
    """The 95 % interval of ``expected_error`` of the pooled cases, of which whole patients are drawn (``resampling``).

    ``patients``: (cases,), as ``patient_numbers`` gives them. None for fewer than 3 of them, or where no draw has any
    voxel.
    """
    count = int(patients.max()) + 1
    if count < FEWEST:
        return None
    sums = np.array([[case.voxels, case.probability, case.hits] for case in cases], float)[..., first:]
    voxels, probability, hits = np.moveaxis(np.tensordot(drawn_weights(patients, 0, "calibration"), sums, 1), 1, 0)
    total = voxels.sum(1)
    errors = np.divide(np.abs(hits - probability).sum(1), total, out=np.full(total.shape, np.nan), where=total > 0)
    return None if np.isnan(errors).all() else interval(errors, count)


def overconfidence(bins: Bins, first: int = 0) -> float | None:
    """Mean probability minus the share that has the label; likewise."""
    rows = list(bins.rows())[first:]
    total = sum(voxels for voxels, _, _ in rows)
    return sum(sums - hits for _, sums, hits in rows) / total if total else None
