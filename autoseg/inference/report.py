"""What became of every case of a prediction, and where the time went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core.names import counted
from ..core.process import peak_memory_bytes
from ..core.progress import duration
from .attempt import Attempt


@dataclass(frozen=True)
class PredictReport:
    """The outcome of one prediction command."""

    written: tuple[Path, ...]
    """Label maps."""
    failed: dict[str, str]
    """Case to what went wrong."""
    skipped: tuple[str, ...]
    """Cases whose label map an earlier run had finished."""
    seconds: dict[str, float]
    """Stage to its time summed over cases, in the order of the stages. Stages of different cases run side by side."""
    elapsed: float
    """Seconds from first to last case."""

    @classmethod
    def of(cls, attempts: Sequence[Attempt[Path]], skipped: Sequence[str], elapsed: float) -> PredictReport:
        """Sums up cases that went through all stages or stopped at one."""
        seconds: dict[str, float] = {}
        for attempt in attempts:
            for stage, taken in attempt.clock.seconds.items():
                seconds[stage] = seconds.get(stage, 0.0) + taken
        written = tuple(attempt.result for attempt in attempts if attempt.result is not None)
        failed = {attempt.key: attempt.error for attempt in attempts if attempt.error is not None}
        return cls(written, failed, tuple(skipped), seconds, elapsed)

    def stage_table(self) -> str:
        """Time per stage and what failed, as plain text."""
        cases = max(1, len(self.written))
        lines = [f"{'stage':9}{'total':>9}{'per case':>11}"]
        lines += [f"{stage:9}{total:7.1f} s{total / cases:9.3f} s" for stage, total in self.seconds.items()]
        memory = peak_memory_bytes()
        kept = f", {len(self.skipped)} were there already" if self.skipped else ""
        peak = f"; peak memory {memory / 1e9:.1f} GB" if memory else ""
        lines.append(f"{counted(len(self.written), 'case')} written in {duration(self.elapsed)}{kept}{peak}")
        lines += [f"FAILED {key}: {error}" for key, error in self.failed.items()]
        return "\n".join(lines)
