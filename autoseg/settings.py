"""What depends on the machine and not on the data. Never stored in a plan."""

from __future__ import annotations

import logging
import platform
import re
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from .core import machine
from .core.names import short
from .errors import UsageError

if TYPE_CHECKING:
    import torch

LOG = logging.getLogger("autoseg")
COMPILE = ("auto", "on", "off")
DEVICE = r"auto|cpu|mps|cuda(:(0|[1-9][0-9]{0,2}))?"
MOST_THREADS = 1024  # with some thousand more, the system starts none any more and torch ends the process
PRECISIONS = ("auto", "bfloat16", "float16", "float32")


@dataclass(frozen=True)
class RunSettings:
    """How a step runs here."""

    device: str = "auto"
    """``cpu``, ``cuda``, ``cuda:1``, ``mps``; ``auto`` takes a GPU where there is one."""
    threads: int = field(default_factory=lambda: min(machine.cores(), MOST_THREADS))
    """Processor threads for arithmetic and for reading."""
    precision: str = "auto"
    """``bfloat16``, ``float16`` or ``float32``. ``auto`` trains in bfloat16 where the device computes it, and predicts
    in float16 on an NVIDIA GPU, in float32 elsewhere: bfloat16 moves one in a thousand voxels of a label."""
    seed: int = 0
    memory: int | None = None
    """Bytes of main memory that prediction may hold; None: what the machine has to spare."""
    deterministic: bool = False
    """Only arithmetic that gives the same bits every time, on a GPU too, where that is slower."""
    compile: str = "auto"
    """``on`` compiles the network for training (torch.compile), ``off`` does not; ``auto`` compiles it on a GPU in a
    training long enough to pay for that, if compiled steps are then seen to be faster."""

    def __post_init__(self) -> None:
        if self.compile not in COMPILE:
            raise UsageError(f"compile {short(self.compile)!r} is unknown; choose one of {', '.join(COMPILE)}")
        if not 1 <= self.threads <= MOST_THREADS:
            raise UsageError(f"threads must be 1 to {MOST_THREADS}, found {short(self.threads)}")


@dataclass(frozen=True)
class Resolved:
    """Settings with every ``auto`` decided for this machine."""

    device: torch.device
    dtype: torch.dtype | None
    """What autocast computes in; None: plain float32, no autocast."""


def resolve(settings: RunSettings, *, predicting: bool = False) -> Resolved:
    """Decides device and precision. Raises UsageError for a device that is not there or an unknown precision."""
    device = _device(settings.device)
    return Resolved(device, _dtype(settings.precision, device, predicting))


def _device(name: str) -> torch.device:
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if not re.fullmatch(DEVICE, name):
        raise UsageError(f"device {short(name)!r} is unknown; give auto, cpu, cuda, cuda:1 or mps")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"device {name!r} is not there: torch sees {torch.cuda.device_count()} CUDA devices")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError("device 'mps' is not there: it needs a Mac with an Apple GPU; give --device cpu")
    return device


def _dtype(precision: str, device: torch.device, predicting: bool) -> torch.dtype | None:
    import torch

    if precision not in PRECISIONS:
        raise UsageError(f"precision {precision!r} is unknown; choose one of {', '.join(PRECISIONS)}")
    if precision != "auto":
        asked = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": None}[precision]
        return asked if asked is None or device.type != "cpu" or computes(asked) else _instead_of(precision)
    if predicting:
        return torch.float16 if device.type == "cuda" else None
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float16
    known = "x86" in _processor_kind() and computes(torch.bfloat16)
    return torch.bfloat16 if device.type == "cpu" and known else None


def computes(dtype: torch.dtype) -> bool:
    """Whether this processor has instructions for a half precision.

    Without them torch emulates it: a convolution then takes a hundred times as long as in float32 and five times the
    memory. Only of x86 is it known; other processors are believed to have what a user asks for.
    """
    import torch

    if "x86" not in _processor_kind():
        return True
    # what torch uses, which a user may hold below what the processor has (ATEN_CPU_CAPABILITY)
    if torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    if dtype == torch.float16:
        return torch.cpu._is_amx_fp16_supported()
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def _processor_kind() -> str:
    return {"AMD64": "x86_64"}.get(platform.machine(), platform.machine())


@cache
def _instead_of(precision: str) -> None:
    """Float32, said once."""
    LOG.warning("this processor has no instructions for %s; float32 is taken, which is much faster here", precision)
