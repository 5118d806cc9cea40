"""What no loss can make sense of. Knows no torch: a plan is read without it."""

from __future__ import annotations

from typing import Any

from ...core.bounds import bounded

LARGEST = 1e6  # of weights, exponents and smoothing terms


def refuse_impossible(spec: Any) -> None:
    """Raises ValueError for a negative or absurd number, and for terms whose weights are all 0."""
    bounded(spec, *vars(spec), least=0, most=LARGEST)
    weights = {name: value for name, value in vars(spec).items() if name.endswith("_weight")}
    if weights and not any(weights.values()):
        raise ValueError(f"{', '.join(weights)}: at least one must be above 0")
