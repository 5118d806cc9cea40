"""Temperatures that make the probabilities of unseen cases likeliest (``core.temperature`` says what they do).

Of every case, the negative log-likelihood of its reference is summed for each head and 41 temperatures from 1/5 to 5.
It is convex in 1/T, and sums of cases are those of folds: so the temperatures that all cases teach, and those that a
fold's cases are judged with, which all other folds teach, come from the same tables.

Probabilities that were kept in 8 bits are 0 below 1/510. So the likelihood is that of a voxel's label among those with
another probability, in voxels that have one of these: conditional on what is known, it finds the same temperatures. A
voxel of which a network was surely wrong has no say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from ..core.temperature import LEAST, MOST, stretched
from .calibration import Bins, expected_error

GRID = np.geomspace(LEAST, MOST, 41)
ONE = 20  # where GRID is 1
FEWEST_PATIENTS = 5  # with fewer, a head takes the temperature of all heads together


@dataclass(frozen=True)
class Recalibration:
    """What temperatures do to the probabilities of a model, on cases that had no say in them."""

    learned: dict[str, float]
    """Head to the temperature that all cases teach."""
    kept: bool
    """Whether the likelihood of held-out cases gains."""
    nll_before: float
    """Nats, summed over the voxels of all cases."""
    nll_after: float
    """Each case with what was learned without its fold."""
    before: dict[str, Bins]
    """Label to the voxels of all cases."""
    after: dict[str, Bins]
    """Likewise, each case with what was learned without its fold."""

    @property
    def temperatures(self) -> dict[str, float]:
        """Those that the model gets."""
        return self.learned if self.kept else {}

    def told(self) -> str:
        """In a line."""
        errors = [[expected_error(bins, 1) or 0.0 for bins in each.values()] for each in (self.before, self.after)]
        before, after = map(fmean, errors)
        change = f"calibration error on held-out cases {before:.3f} before, {after:.3f} after"
        if not self.kept:
            return f"temperatures: none, they make held-out cases no likelier; {change}"
        return f"temperatures: {', '.join(f'{name} {each:.2f}' for name, each in self.learned.items())}; {change}"


def likelihoods_of_exclusive(chances: np.ndarray, truth: np.ndarray, decided: np.ndarray) -> np.ndarray:
    """Negative log-likelihoods (heads, GRID) of voxels, each in the row of the label that is decided there.

    ``chances`` are (heads, voxels), ``truth`` and ``decided`` (voxels,) heads.
    """
    heads, own = len(chances), chances[truth, np.arange(len(truth))]
    doubtful = (own > 0) & (own < 1)
    chances, own, decided = chances[:, doubtful].astype(float), own[doubtful].astype(float), decided[doubtful]
    found = np.zeros((heads, len(GRID)))
    if not len(own):
        return found
    true = np.log(own)
    most = int((chances > 0).sum(0).max())  # labels that a voxel may have: few of many
    with np.errstate(divide="ignore"):
        logs = np.log(np.partition(chances, heads - most, axis=0)[heads - most :])
    for number, temperature in enumerate(GRID):
        values = stretched(logs, 1 / temperature)
        largest = values.max(0)
        losses = np.log(np.exp(values - largest).sum(0)) + largest - stretched(true, 1 / temperature)
        found[:, number] = np.bincount(decided, losses, heads)
    return found


def likelihoods_of_region(chances: np.ndarray, belongs: np.ndarray) -> np.ndarray:
    """Negative log-likelihoods (GRID,) of voxels (voxels,), which belong to a region, or a mask, or do not."""
    doubtful = (chances > 0) & (chances < 1)
    chances, belongs = chances[doubtful].astype(float), belongs[doubtful]
    logits = np.log(chances) - np.log1p(-chances)
    right = np.where(belongs, logits, -logits)
    return np.array([np.logaddexp(0, -stretched(right, 1 / each)).sum() for each in GRID])


def learned(tables: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """Temperatures (heads,) from the likelihoods (cases, heads, GRID) of cases of ``patients`` (cases,)."""
    together = lowest(tables.sum((0, 1)))
    found = np.full(tables.shape[1], together)
    for head in range(len(found)):
        holding = tables[:, head].any(-1)
        if len(np.unique(patients[holding])) >= FEWEST_PATIENTS:
            found[head] = lowest(tables[:, head].sum(0))
    return found


def held_out(tables: np.ndarray, patients: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Temperatures (cases, heads) of every case, learned from all other ``folds`` (cases,); there must be two."""
    found = np.ones(tables.shape[:2])
    for fold in np.unique(folds):
        there = folds == fold
        found[there] = learned(tables[~there], patients[~there])
    return found


def likelihood(tables: np.ndarray, temperatures: np.ndarray) -> float:
    """Negative, in nats, of all cases, at temperatures (cases, heads)."""
    points = np.log(GRID)
    rows = zip(tables.reshape(-1, len(GRID)), np.log(temperatures).ravel())
    return float(sum(np.interp(place, points, row) for row, place in rows))


def lowest(table: np.ndarray) -> float:
    """The temperature at which a likelihood (GRID,) is best, between points of the grid by a parabola; 1 where all are
    alike."""
    best, steps = int(np.argmin(table)), np.log(GRID)
    if np.ptp(table) == 0:
        return 1.0
    if best in (0, len(GRID) - 1):
        return float(GRID[best])
    before, here, after = (float(each) for each in table[best - 1 : best + 2])
    bend = before - 2 * here + after
    shift = (before - after) / (2 * bend) if bend > 0 else 0.0
    return float(np.exp(steps[best] + shift * (steps[1] - steps[0])))


def names_with(temperatures: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """Head to its temperature, within the bounds and in four digits."""
    return {name: float(f"{min(max(value, LEAST), MOST):.4g}") for name, value in zip(names, temperatures)}
