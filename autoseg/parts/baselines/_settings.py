"""Settings that are learned: those that are None are tried, each with each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any, TypeVar

from ...core.bounds import bounded

Spec = TypeVar("Spec")


def candidates(spec: Spec, **tried: Sequence[Any]) -> tuple[Spec, ...]:
    """``spec`` with every value of the fields ``tried`` that it leaves open; the usual values come first."""
    left = {name: values for name, values in tried.items() if getattr(spec, name) is None}
    return tuple(replace(spec, **dict(zip(left, values))) for values in product(*left.values()))  # type: ignore[type-var]


def refuse_impossible(spec: Any) -> None:
    """Raises ValueError for settings of the names that methods share outside their bounds."""
    limits: dict[str, dict[str, float]] = {
        "classes": {"least": 2, "most": 16},
        "seeds": {"above": 0, "most": 1},
        "sure": {"above": 0, "most": 1},
        "sigma": {"above": 0, "most": 10},
        "spread": {"above": 0, "most": 10},
        "iterations": {"least": 1, "most": 500},
        "beta": {"above": 0, "most": 1e6},
        "smoothness": {"least": 0, "most": 1000},
    }
    for name, limit in limits.items():
        if getattr(spec, name, None) is not None:
            bounded(spec, name, **limit)
