"""What this process takes of the machine."""

from __future__ import annotations

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
