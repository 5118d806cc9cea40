"""Memory that was freed stays with the process for what it allocates next.

The C library gives blocks above 32 MB back as soon as they are free, and the system clears every page of the next one:
a third of the time of a network of few, large feature maps on a processor. Only glibc is told (Linux); others differ.
"""

from __future__ import annotations

import ctypes
import sys

from . import process

# mallopt(3)
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8
MOST = 2**31 - 1


def keep_freed() -> bool:
    """From now on, for the whole process; False where the C library cannot be told."""
    libc = _glibc()
    if libc is None:
        return False
    # No block is mapped by itself, the heap never shrinks by itself, and all threads share it.
    choices = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, MOST), (M_ARENA_MAX, 1))
    return all(libc.mallopt(name, value) == 1 for name, value in choices)


def give_back(above: int = 0) -> None:
    """Gives what is free to the system, if the process holds more than ``above`` bytes."""
    if (libc := _glibc()) is not None and process.resident_bytes() > above:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
