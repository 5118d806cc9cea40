"""One seed, one independent generator per purpose, whatever the number of threads."""

from __future__ import annotations

import hashlib

import numpy as np


def generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """A generator that depends on the seed and the purpose only, e.g. ``generator(0, "patches", epoch)``."""
    digest = hashlib.sha256(repr((seed, purpose)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))
