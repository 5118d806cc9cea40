"""One case on its way through a chain of stages: what it has become, how long each stage took, or why it stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ..core.clock import Clock
from ..core.mishaps import explained

In = TypeVar("In")
Out = TypeVar("Out")


@dataclass(frozen=True)
class Attempt(Generic[In]):
    """A case after some stages. Once a stage has failed, the later ones do nothing."""

    key: str
    result: In | None
    """What the last stage returned; None after a failure."""
    clock: Clock = field(default_factory=Clock)
    """Seconds per stage, in order; a stage may open others inside."""
    error: str | None = None

    def then(self, stage: str, function: Callable[[In], Out]) -> Attempt[Out]:
        """Runs the next stage on the result.

        What may befall one case leaves the next unharmed; a defect of autoseg stops everything.
        """
        if self.result is None:
            return Attempt(self.key, None, self.clock, self.error)
        try:
            with self.clock.stage(stage):
                result = function(self.result)
        except Exception as error:
            said = explained(error)
            if said is None:
                raise
            return Attempt(self.key, None, self.clock, f"{self.clock.failed} failed: {said}")
        return Attempt(self.key, result, self.clock)
