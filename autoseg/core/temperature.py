"""Temperatures: above 1 they soften probabilities, below 1 they sharpen them, and never do they change a decision.

A temperature T divides log-probabilities or logits (Guo et al. 2017, arXiv 1706.04599). Of labels that exclude each
other a voxel takes the temperature of the label that is decided there: it is one number per voxel, so the most probable
label stays so (Ding et al. 2021, arXiv 2008.05105, let a network find it). Regions and masks each have their own.

Cross-validation keeps probabilities in 8 bits, so it cannot say what is true of chances below half a step, 1/510. There
the values are shifted, not divided: what is surely background stays so, however many labels there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import log
from typing import Any, TypeVar

from .names import short

LEAST, MOST = 0.2, 5.0
EDGE = log(510)
"""How far from 0 a log-probability or a logit lies, from which on it is shifted."""
Temperatures = Mapping[str, float]
"""Of heads by their names, see ``Labels.head_names``; of those without one 1."""
Values = TypeVar("Values", bound=Any)


def stretched(values: Values, inverse: Any) -> Values:
    """Log-probabilities or logits times ``inverse``, 1 / T, where they are within EDGE of 0; beyond, shifted by what
    that makes of EDGE. Ascending, and 0 stays 0."""
    inside = values.clip(-EDGE, EDGE)
    return inverse * inside + (values - inside)


def refuse_wrong(temperatures: Temperatures) -> None:
    """Raises ValueError for one that is no number from LEAST to MOST."""
    for name, value in temperatures.items():
        if not LEAST <= value <= MOST:  # NaN is refused as well
            raise ValueError(f"temperatures of {short(name)!r} must be {LEAST:g} to {MOST:g}, found {value:g}")
