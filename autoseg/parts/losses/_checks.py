"""What no loss can make sense of. Knows no torch: a plan is read without it."""

from __future__ import annotations

from typing import Any


def refuse_impossible(spec: Any) -> None:
    """Raises ValueError for a negative number, and for terms whose weights are all 0."""
    for name, value in vars(spec).items():
        if isinstance(value, float) and not value >= 0:
            raise ValueError(f"{name} must not be negative, found {value}")
    weights = {name: value for name, value in vars(spec).items() if name.endswith("_weight")}
    if weights and not any(weights.values()):
        raise ValueError(f"{', '.join(weights)}: at least one must be above 0")
