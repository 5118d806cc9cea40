"""What is freed stays, until it is given back."""

import subprocess
import sys

import pytest

from autoseg.core import heap

SCRIPT = """
import numpy as np
from autoseg.core import heap, process
heap.keep_freed()
before = process.resident_bytes()
blocks = [np.ones(10_000_000) for _ in range(3)]
pinned = bytes(1000)
del blocks
kept = process.resident_bytes() - before
heap.give_back(above=10**12)
still = process.resident_bytes() - before
heap.give_back()
print(kept, still, process.resident_bytes() - before)
"""


@pytest.mark.skipif(not heap._glibc(), reason="the C library is not glibc")
def test_freed_memory_stays_with_the_process_until_it_is_given_back():
    said = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True).stdout
    kept, still, left = map(int, said.split())
    assert kept > 230_000_000 and still > 230_000_000
    assert left < 40_000_000
