"""One case on its way through a chain of stages: what it has become, how long each stage took, or why it stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import torch

from ..core.clock import Clock
from ..errors import AutosegError

In = TypeVar("In")
Out = TypeVar("Out")

# What may befall one case and leave the next unharmed. Anything else is a defect of autoseg and stops everything.
OF_THE_CASE = (AutosegError, OSError, MemoryError, torch.OutOfMemoryError)


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
        """Runs the next stage on the result."""
        if self.result is None:
            return Attempt(self.key, None, self.clock, self.error)
        try:
            with self.clock.stage(stage):
                result = function(self.result)
        except OF_THE_CASE as error:
            said = str(error) or type(error).__name__  # a MemoryError says nothing
            return Attempt(self.key, None, self.clock, f"{self.clock.failed} failed: {said}")
        return Attempt(self.key, result, self.clock)
