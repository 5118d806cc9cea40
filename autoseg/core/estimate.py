"""A mean with how sure it is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A mean over cases with its 95 % bootstrap interval, which resamples patients where they are known."""

    mean: float | None
    """None when no case has a number."""
    low: float | None
    high: float | None
    """None when fewer than three patients have a number; each case is a patient where none are named."""
    cases: int
    """Cases that have a number."""

    def __post_init__(self) -> None:
        if (self.low is None) != (self.high is None):
            raise ValueError(f"an interval has both ends or none, found low {self.low} and high {self.high}")
