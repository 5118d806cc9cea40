"""One case on its way through a chain of stages: what it has become, how long each stage took, or why it stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch

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
    seconds: tuple[tuple[str, float], ...] = ()
    """Stage and its time, in order."""
    error: str | None = None

    def then(self, stage: str, function: Callable[[In], Out]) -> Attempt[Out]:
        """Runs the next stage on the result."""
        if self.result is None:
            return Attempt(self.key, None, self.seconds, self.error)
        start = time.perf_counter()
        try:
            result = function(self.result)
        except OF_THE_CASE as error:
            return Attempt(self.key, None, self.seconds, f"{stage} failed: {error}")
        return Attempt(self.key, result, (*self.seconds, (stage, time.perf_counter() - start)))
