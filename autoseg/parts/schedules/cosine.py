"""Learning rate that falls along half a cosine (Loshchilov and Hutter 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi

from ...core.bounds import LONGEST, bounded


@dataclass(frozen=True)
class Spec:
    """One cosine over the whole training, no restarts."""

    warmup_iterations: int = 0
    """The rate climbs linearly from nearly zero over this many iterations."""

    def __post_init__(self) -> None:
        bounded(self, "warmup_iterations", least=0, most=LONGEST)

    def factor(self, progress: float, iteration: int) -> float:
        """What the base learning rate is multiplied by; ``progress`` runs from 0 to 1 over the training."""
        warmup = min(1.0, (iteration + 1) / self.warmup_iterations) if self.warmup_iterations else 1.0
        return warmup * 0.5 * (1.0 + cos(pi * min(1.0, max(0.0, progress))))
