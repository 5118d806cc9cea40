"""From how far a prediction agrees with itself to the Dice to be expected of it: a line, learned on cross-validation.

A line has two numbers, which some ten cases suffice for, and goes on where they end. A step for every case, as isotonic
regression has, would learn the cases by heart, and says of all that is worse than any of them the same.
"""

from __future__ import annotations

from dataclasses import dataclass

from .bounds import bounded


@dataclass(frozen=True)
class DiceLine:
    """Of one label."""

    slope: float
    """0 or more: what agrees better is never predicted to be worse."""
    intercept: float
    error: float
    """Mean absolute error of the predicted Dice, each patient's from a line that was learned without them."""
    r: float | None
    """Pearson's correlation of these with the Dice that was measured; None: one of both does not vary."""
    cases: int
    """From which it was learned."""
    pooled: bool = False
    """Whether it was learned of all labels together, this one having too few cases of its own."""

    def __post_init__(self) -> None:
        bounded(self, "slope", "error", least=0, most=1e6)
        bounded(self, "intercept", least=-1e6, most=1e6)
        bounded(self, "r", least=-1, most=1)
        bounded(self, "cases", least=1)

    def dice(self, agreement: float | None) -> float | None:
        """The predicted Dice, 0 to 1; None where the label is not predicted."""
        return None if agreement is None else min(1.0, max(0.0, self.intercept + self.slope * agreement))
