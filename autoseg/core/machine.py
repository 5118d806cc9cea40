"""What this machine offers: cores and memory that this process may really use (affinity and cgroup limits included)."""

from __future__ import annotations

import gc
import math
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_CGROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def cores() -> int:
    """Processor cores this process may use, at least 1: a share of a core counts as a whole one."""
    affinity = getattr(os, "sched_getaffinity", None)  # absent on macOS and Windows
    allowed = [len(affinity(0)) if affinity else os.cpu_count() or 1]
    for group in _control_groups("cpu"):
        quota, _, period = _content(group / "cpu.max").partition(" ")  # version 2; version 1 has two files
        quota, period = quota or _content(group / "cpu.cfs_quota_us"), period or _content(group / "cpu.cfs_period_us")
        if quota.isdecimal() and period.isdecimal() and int(period):  # unlimited is "max" or -1
            allowed.append(math.ceil(int(quota) / int(period)))
    return max(1, min(allowed))


def installed_bytes() -> int | None:
    """Main memory of the machine; None where the system does not say (Windows)."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def memory_bytes() -> int:
    """Main memory this process may use: the machine's, or the smallest limit of its control groups."""
    total = installed_bytes() or 8 << 30
    names = ("memory.max", "memory.limit_in_bytes")  # versions 2 and 1
    limits = [_content(group / name) for group in _control_groups("memory") for name in names]
    return min([total, *(int(limit) for limit in limits if limit.isdecimal())])


def _control_groups(controller: str) -> Iterator[Path]:
    """This process's control groups and all those they lie in, of versions 1 and 2: the limits of each of them hold.

    A container may see the path of its group but only the inside of it; then the root is its own group.
    """
    for line in _content(_MEMBERSHIP).splitlines() or ["0::/"]:
        _, names, path = line.split(":", 2)
        if not names:
            roots = [_CGROUPS, _CGROUPS / "unified"]
        elif controller in names.split(","):
            roots = [_CGROUPS / controller, _CGROUPS / names]
        else:
            continue
        inside = Path(path.lstrip("/"))
        yield from (root / group for root in roots for group in (inside, *inside.parents))


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def processor() -> str:
    """Its name, or at least its kind."""
    lines = _content(Path("/proc/cpuinfo")).splitlines()
    named = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return named or platform.processor() or platform.machine()


def available_bytes() -> int:
    """Main memory this process could take without anybody swapping: what is free, at most what it may use."""
    for line in _content(Path("/proc/meminfo")).splitlines():
        if line.startswith("MemAvailable:"):
            return min(memory_bytes(), 1024 * int(line.split()[1]))
    return memory_bytes()


def available_on_gpu(device: torch.device) -> int:
    """Bytes of a GPU that this process could still use: what is free, and what torch holds of it without using it."""
    import torch

    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def give_back_unused(device: torch.device) -> None:
    """What torch holds of a GPU without using it goes back to the GPU, as one piece where it was many."""
    gc.collect()  # what only circles of references keep alive is not used either
    if device.type == "cuda":
        import torch

        torch.cuda.empty_cache()
