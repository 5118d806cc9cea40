"""Learning rate that falls as ``(1 - progress) ** power``."""

from __future__ import annotations

from dataclasses import dataclass

from ...core.bounds import LONGEST, bounded


@dataclass(frozen=True)
class Spec:
    """``power`` as in nnU-Net v2 2.8.1, which has no warm-up."""

    power: float = 0.9
    warmup_iterations: int = 0
    """The rate climbs linearly from nearly zero over this many iterations."""

    def __post_init__(self) -> None:
        bounded(self, "power", least=0, most=1000)
        bounded(self, "warmup_iterations", least=0, most=LONGEST)

    def factor(self, progress: float, iteration: int) -> float:
        """What the base learning rate is multiplied by; ``progress`` runs from 0 to 1 over the training."""
        warmup = min(1.0, (iteration + 1) / self.warmup_iterations) if self.warmup_iterations else 1.0
        return warmup * max(0.0, 1.0 - progress) ** self.power
