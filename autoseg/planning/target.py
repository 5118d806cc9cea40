"""What a plan is made for: so much memory, so much speed; this machine, one by name, or one by its numbers."""

from __future__ import annotations

from dataclasses import dataclass

from ..configuration import StepMemory
from ..core.amounts import read_bytes
from ..errors import UsageError

GPU_CONTEXT = int(0.5e9)  # CUDA's own and the libraries' code: an estimate
GPU_WORKSPACE = int(0.4e9)  # cuDNN's: for steps of 1.1 and 1.3 GB torch reserved 0.33 and 0.27 GB more (H100)
GPU_GAPS = 0.05  # of torch's CUDA allocator, whose blocks are alike in every step: an estimate, on the safe side
CPU_BESIDE = int(0.5e9)  # Python, torch and oneDNN with a training at work (0.43 GB with torch 2.13 on Linux)
CPU_GAPS = 0.5  # of glibc's heap: steps of 0.77 and 1.69 GB took 0.2 and 0.45 more than was asked for (torch 2.13)

# A training step is bound by memory traffic. nnU-Net's presets do 8e9 feature map elements per second on an A100 PCIe
# with 40 GB (250 000 iterations of 2 x 560e6 elements in 9 h, of 2 x 2.1e9 in 35 h: nnU-Net, resenc_presets.md), which
# moves 1555 GB/s; epochs on a 2080 Ti, 616 GB/s, took 2.3 to 2.6 times as long (nnU-Net v1, expected_epoch_times.md).
BYTES_PER_ELEMENT = 195.0


@dataclass(frozen=True)
class Target:
    """Memory in bytes."""

    name: str
    memory: int
    """All there is."""
    beside: int
    """Of it, what is no training step: interpreter, libraries, contexts."""
    gaps: float
    """What the allocator loses between blocks: a share of all of them."""
    gpu: bool
    speed: float | None = None
    """Feature map elements that are trained per second; None: real steps are timed."""
    share: float = 1.0
    """Of the memory, for one training."""

    @property
    def allowed(self) -> int:
        """What one training may take unless the user says otherwise."""
        return int(self.share * self.memory)

    def total(self, step: StepMemory) -> int:
        """What a training holds at most whose steps hold ``step``."""
        return int(self.beside + (1.0 + self.gaps) * step.peak)


def gpu(name: str, memory: float, bandwidth: float | None) -> Target:
    """A GPU with so many bytes, whose memory moves so many bytes per second; None: its speed is measured."""
    speed = None if bandwidth is None else bandwidth / BYTES_PER_ELEMENT
    return Target(name, int(memory), GPU_CONTEXT + GPU_WORKSPACE, GPU_GAPS, True, speed)


def _known(name: str, gibibytes: int, bandwidth: int) -> Target:
    return gpu(name, 0.98 * gibibytes * 2**30, bandwidth * 1e9)  # 2 % are the driver's


TARGETS = {
    target.name: target
    for target in (
        _known("t4-16g", 16, 320),
        _known("rtx2080ti-11g", 11, 616),
        _known("rtx3060-12g", 12, 360),
        _known("rtx3090-24g", 24, 936),
        _known("rtx4090-24g", 24, 1008),
        _known("l4-24g", 24, 300),
        _known("a10-24g", 24, 600),
        _known("v100-16g", 16, 900),
        _known("v100-32g", 32, 900),
        _known("a40-48g", 48, 696),
        _known("a6000-48g", 48, 768),
        _known("a100-40g", 40, 1555),
        _known("a100-80g", 80, 1935),
        _known("h100-80g", 80, 2000),
        _known("h200-141g", 141, 4800),
    )
}
"""Memory and bandwidth as in the manufacturer's data sheets; of the PCIe version where there are several."""


def read_target(text: str) -> Target:
    """A name of ``TARGETS``, or ``memory=24GB,bandwidth=936GB/s``. Raises UsageError."""
    if text.casefold() in TARGETS:
        return TARGETS[text.casefold()]
    numbers = dict(part.strip().partition("=")[::2] for part in text.split(","))
    if set(numbers) != {"memory", "bandwidth"}:
        raise UsageError(
            f"target {text!r} is unknown; give memory=24GB,bandwidth=936GB/s (of its memory, from the data sheet) "
            f"or one of {', '.join(TARGETS)}"
        )
    return gpu(text, read_bytes(numbers["memory"]), read_bytes(numbers["bandwidth"].removesuffix("/s")))
