"""What depends on the machine and not on the data. Never stored in a plan."""

from __future__ import annotations

from dataclasses import dataclass, field

from .core import machine


@dataclass(frozen=True)
class RunSettings:
    """How a step runs here."""

    device: str = "auto"
    """``cpu``, ``cuda``, ``cuda:1``, ``mps``; ``auto`` takes a GPU where there is one."""
    threads: int = field(default_factory=machine.cores)
    """Processor threads for arithmetic and for reading."""
    precision: str = "auto"
    """``bfloat16``, ``float16`` or ``float32``; ``auto`` takes bfloat16 where the device computes in it."""
    seed: int = 0
