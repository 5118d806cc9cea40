"""How well the Dice of a prediction can be told without a reference, learned and measured on cross-validation.

Held-out cases are predicted by one network, that of their fold; so the agreement that is measured of them is that of
one network, too (``inference.outputs.agreement``). A model of all folds is asked for the same measure of their mean.

Risk against coverage: how large the mean error 1 - Dice is where only the surest share of the cases is accepted. The
area under that curve (Geifman and El-Yaniv 2017, arXiv:1705.08500) is the mean of the risk over all shares.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..core.dice_line import DiceLine

FEWEST_CASES, FEWEST_PATIENTS = 10, 5  # with fewer, a label takes the line of all labels together
TINY = 1e-12  # of variances: what varies less does not vary
SMALLEST_VARIANCE = 1e-8  # of agreements: a slope is then at most 0.5 / 1e-4, as Dice is 0 to 1


class Seen(NamedTuple):
    """A label of a case that has a reference."""

    case: str
    patient: str
    label: str
    agreement: float
    dice: float


class RiskCoverage(NamedTuple):
    """Of the cases of one label, the surest first."""

    coverage: np.ndarray
    """1/n, 2/n, ... 1."""
    risk: np.ndarray
    """Mean of 1 - Dice of so many."""

    @property
    def area(self) -> float:
        """Mean risk; the smaller, the better."""
        return float(self.risk.mean())


def learn(seen: Sequence[Seen]) -> dict[str, DiceLine]:
    """A line for every label; nothing where there are too few cases in all."""
    together = _line(seen, pooled=True)
    if together is None:
        return {}
    labels = dict.fromkeys(each.label for each in seen)
    return {label: _line([each for each in seen if each.label == label]) or together for label in labels}


def held_out(seen: Sequence[Seen]) -> np.ndarray:
    """The predicted Dice of each, from a line that was learned of all other patients; there must be others."""
    agreement, dice, _, whose = _columns(seen)
    groups = np.stack([np.bincount(whose, weights) for weights in _moments(agreement, dice)])
    slope, intercept = _fitted(groups.sum(1, keepdims=True) - groups)
    return np.asarray((intercept[whose] + slope[whose] * agreement).clip(0, 1))


def risk_coverage(confidence: Sequence[float], dice: Sequence[float]) -> RiskCoverage:
    """Cases that are equally sure come in any order: each of them counts as their mean."""
    sure, risks = np.asarray(confidence, float), 1 - np.asarray(dice, float)
    order = np.argsort(-sure, kind="stable")
    _, whose = np.unique(-sure[order], return_inverse=True)
    even = (np.bincount(whose, risks[order]) / np.bincount(whose))[whose]
    count = np.arange(1, len(even) + 1)
    return RiskCoverage(count / len(even), np.cumsum(even) / count)


def _line(seen: Sequence[Seen], pooled: bool = False) -> DiceLine | None:
    agreement, dice, patients, _ = _columns(seen)
    if len(seen) < FEWEST_CASES or patients < FEWEST_PATIENTS:
        return None
    slope, intercept = (float(each[0]) for each in _fitted(_moments(agreement, dice).sum(1, keepdims=True)))
    found = held_out(seen)
    vary = min(found.std(), dice.std()) ** 2 > TINY
    r = float(np.corrcoef(found, dice)[0, 1].clip(-1, 1)) if vary else None
    return DiceLine(slope, intercept, float(np.abs(found - dice).mean()), r, len({each.case for each in seen}), pooled)


def _columns(seen: Sequence[Seen]) -> tuple[np.ndarray, np.ndarray, int, np.ndarray]:
    """Agreement, Dice, how many patients there are, and the number of each one's."""
    numbers = {patient: number for number, patient in enumerate(dict.fromkeys(each.patient for each in seen))}
    whose = np.array([numbers[each.patient] for each in seen], int)
    return np.array([each.agreement for each in seen]), np.array([each.dice for each in seen]), len(numbers), whose


def _moments(agreement: np.ndarray, dice: np.ndarray) -> np.ndarray:
    """What least squares need the sums of, (5, n)."""
    return np.stack([np.ones_like(dice), agreement, dice, agreement**2, agreement * dice])


def _fitted(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slopes and intercepts (n) of least squares, slopes not below 0, from sums (5, n)."""
    count, agreement, dice, squares, products = sums
    spread = squares - agreement**2 / count
    common = products - agreement * dice / count
    slope = np.divide(common, spread, out=np.zeros_like(common), where=spread > SMALLEST_VARIANCE * count).clip(0)
    return slope, (dice - slope * agreement) / count
