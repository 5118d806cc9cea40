"""What this process takes of the machine: processor time and main memory. Linux tells; other systems do not."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from pathlib import Path

_PROCESS = Path("/proc/self")

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # mallopt(3)
KEPT = (32 << 20, 128 << 20)  # bytes: older C libraries refuse the second
BUSY = 0.1  # share of the time in which threads waited for a core, from which on others are said to use the machine
AT_WORK = 0.8  # of the time at least, a thread works when all threads share the work and nothing else goes on


class Stopwatch:
    """Mutable: seconds since it was made, and what they would have been if no other program had used the cores."""

    def __init__(self, threads: int) -> None:
        """``threads`` share the work that is timed."""
        self._threads = threads
        self._began = time.perf_counter()
        self._ran, self._waited = _thread_seconds()

    def elapsed(self) -> float:
        """All seconds."""
        return time.perf_counter() - self._began

    def disturbed(self) -> bool:
        """Whether others use the machine."""
        return self._running_and_share()[1] >= BUSY

    def seconds(self) -> float:
        """Without those in which threads wanted a core that others had, or waited for a thread that did."""
        ran, share = self._running_and_share()
        alone = self.elapsed() * (1.0 - share)
        return alone if share < BUSY else min(alone, ran / (self._threads * AT_WORK))

    def _running_and_share(self) -> tuple[float, float]:
        """Seconds that threads ran, and of all that they wanted to run the share in which they waited."""
        ran, waited = (now - before for now, before in zip(_thread_seconds(), (self._ran, self._waited)))
        return ran, waited / (ran + waited) if ran > 0 and waited > 0 else 0.0


class MemoryPeak:
    """Mutable: the most main memory that the process has taken since this was made, beyond what it had then."""

    def __init__(self) -> None:
        give_back_freed()
        try:
            (_PROCESS / "clear_refs").write_text("5")  # the peak begins anew
        except OSError:
            self._before = None
        else:
            self._before = _status("VmRSS")

    def bytes(self) -> int | None:
        """None where the system does not tell."""
        peak = _status("VmHWM")
        return None if self._before is None or peak is None else peak - self._before


def resident_bytes() -> int:
    """Main memory this process holds now; 0 where the system does not tell."""
    return _status("VmRSS") or 0


def peak_memory_bytes() -> int | None:
    """The most memory this process has held so far; None where the system does not tell (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak  # Linux counts in KiB


def began(process: int) -> float | None:
    """When a process began, in seconds since 1970; None where it is gone, or the system does not tell."""
    try:
        started = int((_PROCESS.parent / str(process) / "stat").read_text().rpartition(")")[2].split()[19])
        boot = next(line for line in (_PROCESS.parent / "stat").read_text().splitlines() if line.startswith("btime "))
        return int(boot.split()[1]) + started / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, StopIteration):
        return None


def keep_freed() -> None:
    """From now on freed blocks up to ``KEPT`` stay with the process for the next ones, where the C library is glibc.

    By itself it gives blocks above 32 MB back as soon as they are free, and the system clears every page of the next
    one: a third of the time of a network of few, large feature maps on a processor. Whole images still go back at once,
    since what stays of them would be in pieces.
    """
    if (libc := _glibc()) is not None:
        for size in KEPT:
            libc.mallopt(M_MMAP_THRESHOLD, size)  # smaller blocks are not mapped by themselves,
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)  # the heap does not shrink by itself,
        libc.mallopt(M_ARENA_MAX, 1)  # and all threads share it


def give_back_freed(above: int = 0) -> None:
    """Freed memory that the C library keeps goes back to the system, if the process holds ``above`` bytes or more."""
    if (libc := _glibc()) is not None and resident_bytes() >= above:
        libc.malloc_trim(0)


def _thread_seconds() -> tuple[float, float]:
    """Of all threads: running, and waiting for a core."""
    ran = waited = 0
    for path in _PROCESS.glob("task/*/schedstat"):
        try:
            running, waiting, _ = path.read_text().split()
        except (OSError, ValueError):  # the thread has just ended, or the kernel keeps no such numbers
            continue
        ran, waited = ran + int(running), waited + int(waiting)
    return ran / 1e9, waited / 1e9


def _status(name: str) -> int | None:
    try:
        lines = (_PROCESS / "status").read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), None)


def _glibc() -> ctypes.CDLL | None:
    try:
        libc = ctypes.CDLL(None)
    except (OSError, TypeError):  # Windows
        return None
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
