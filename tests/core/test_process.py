"""What this process takes of the machine."""

from __future__ import annotations

import platform
import subprocess
import sys
import time

import numpy as np
import pytest

from autoseg.core.process import MemoryPeak, Stopwatch

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells")


def test_time_without_others_is_no_longer_than_time() -> None:
    watch = Stopwatch(1)
    until = time.perf_counter() + 0.1
    while time.perf_counter() < until:
        pass
    alone = watch.seconds()
    assert 0 < alone <= watch.elapsed()


@LINUX
def test_a_peak_is_seen_after_it_has_passed_and_only_once() -> None:
    size = 64 << 20
    peak = MemoryPeak()
    np.ones(size, np.uint8)  # gone at once
    seen = peak.bytes()
    if seen is None:
        pytest.skip("this system does not let a process forget its peak")
    assert 0.9 * size < seen < 2 * size
    after = MemoryPeak().bytes()
    assert after is not None
    assert after < size / 2


FREEING = """
import numpy as np
from autoseg.core import process
process.keep_freed()
before = process.resident_bytes()
blocks = [np.ones(10_000_000) for _ in range(3)]
pinned = bytes(1000)
del blocks
kept = process.resident_bytes() - before
process.give_back_freed(above=10**12)
still = process.resident_bytes() - before
process.give_back_freed()
print(kept, still, process.resident_bytes() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_freed_memory_stays_with_the_process_until_it_is_given_back() -> None:
    said = subprocess.run([sys.executable, "-c", FREEING], capture_output=True, text=True, check=True).stdout
    kept, still, left = map(int, said.split())
    assert kept > 230_000_000 and still > 230_000_000
    assert left < 40_000_000
