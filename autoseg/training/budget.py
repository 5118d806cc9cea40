"""How long a training goes on, and how it ends well before that."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf

from ..configuration import Configuration
from .state import FinalPhase, TrainingState

FINAL_SHARE = 0.05  # of the iterations trained so far, for the final phase; at least one epoch


@dataclass(frozen=True)
class Budget:
    """A number of iterations, a time, or both: then whichever is reached first."""

    iterations: int | None
    seconds: float | None = None

    def __post_init__(self) -> None:
        limits = [limit for limit in (self.iterations, self.seconds) if limit is not None]
        if not limits or min(limits) <= 0:
            raise ValueError(f"a budget needs iterations, seconds or both, more than 0; found {self}")

    @classmethod
    def of(cls, configuration: Configuration, seconds: float | None = None) -> Budget:
        """The epochs of the plan; ``seconds`` instead of them when given."""
        rules = configuration.training
        return cls(rules.epochs * rules.iterations_per_epoch) if seconds is None else cls(None, seconds)

    def progress(self, state: TrainingState) -> float:
        """0 at the beginning, 1 or more when spent or when the final phase is over."""
        by_count = state.iteration / self.iterations if self.iterations else 0.0
        by_time = state.seconds_trained / self.seconds if self.seconds else 0.0
        compressed = state.final.progress_at(state.iteration) if state.final else 0.0
        return max(by_count, by_time, compressed)

    def seconds_left(self, state: TrainingState, seconds_per_iteration: float) -> float:
        """At this pace."""
        by_count = (self.iterations - state.iteration) * seconds_per_iteration if self.iterations else inf
        by_time = self.seconds - state.seconds_trained if self.seconds else inf
        final = state.final.iterations_left(state.iteration) * seconds_per_iteration if state.final else inf
        return max(0.0, min(by_count, by_time, final))


def final_phase(state: TrainingState, progress: float, iterations_per_epoch: int) -> FinalPhase:
    """From here on the schedule runs through what is left of it in a short time."""
    return FinalPhase(state.iteration, progress, max(iterations_per_epoch, ceil(FINAL_SHARE * state.iteration)))
