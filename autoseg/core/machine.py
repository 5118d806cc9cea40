"""What this machine offers: cores and memory that this process may really use (affinity and cgroup limits included)."""

from __future__ import annotations

import math
import os
import shutil
import sys
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def cores() -> int:
    """Processor cores this process may use, at least 1."""
    affinity = getattr(os, "sched_getaffinity", None)  # absent on macOS and Windows
    allowed = len(affinity(0)) if affinity else os.cpu_count() or 1
    try:
        quota, period = (_CGROUP / "cpu.max").read_text().split()
        if quota != "max":
            allowed = min(allowed, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):
        pass  # no cgroup v2
    return max(1, allowed)


def memory_bytes() -> int:
    """Main memory this process may use: the machine's, or the cgroup's limit where that is smaller."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        total = 8 << 30
    try:
        limit = (_CGROUP / "memory.max").read_text().strip()
        return min(total, int(limit)) if limit != "max" else total
    except (OSError, ValueError):
        return total


def has_gpu() -> bool:
    """Whether an NVIDIA driver is present. Asks the system and not torch, whose import alone takes seconds."""
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def peak_memory_bytes() -> int | None:
    """The most memory this process has held so far; None where the system does not tell (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak  # Linux counts in KiB
