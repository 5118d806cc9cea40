"""The field and the bound that it misses are named; what is no number is left to others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from autoseg.core.bounds import bounded


@dataclass(frozen=True)
class Record:
    field: Any


@pytest.mark.parametrize(
    ("value", "bounds", "said"),
    [
        (-1.0, {"above": 0}, "field must be above 0, found -1"),
        (0, {"above": 0}, "field must be above 0, found 0"),
        (-1, {"least": 0}, "field must be at least 0, found -1"),
        (1.0, {"least": 0, "below": 1}, "field must be below 1, found 1"),
        (2.5, {"least": 0, "most": 1}, "field must be at most 1, found 2.5"),
        (float("nan"), {"least": 0}, "field must be at least 0, found nan"),
        ((1, (2, -3)), {"least": 0}, "field must be at least 0, found -3"),
    ],
)
def test_what_lies_outside_is_refused(value: Any, bounds: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        bounded(Record(value), "field", **bounds)


@pytest.mark.parametrize("value", [0, 1.0, (), (0.5, None), None, "text", True])
def test_the_bounds_themselves_and_what_is_no_number_pass(value: Any) -> None:
    bounded(Record(value), "field", least=0, most=1)
