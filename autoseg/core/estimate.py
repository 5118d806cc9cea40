"""A mean with how sure it is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A mean over cases with its 95 % bootstrap interval."""

    mean: float | None
    """None when no case has a number."""
    low: float | None
    high: float | None
    """None when fewer than two cases have a number."""
    cases: int
    """Cases that have a number."""
