"""What is measured of the values of one channel, and which channels of a case hold the same voxels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..data.dataset import Case
from ..data.fingerprint import ChannelFingerprint
from .problem import Problem

LOOKED_AT = 1024  # voxels, at regular distances


def channel_fingerprint(array: np.ndarray) -> ChannelFingerprint:
    """Of (z, y, x), float32, contiguous; minimum or maximum is not finite where a voxel is not."""
    flat = array.reshape(-1)
    sample = flat[:: max(1, flat.size // LOOKED_AT) | 1]  # an odd step does not stay in one column
    ascending = np.sort(sample)
    last = len(ascending) - 1
    low, median, high = (float(ascending[round(last * share)]) for share in (0.01, 0.5, 0.99))
    digest = hashlib.sha256(sample.tobytes())
    # The sum is that of the bits, which is exact: it tells apart what differs between the voxels looked at.
    digest.update(repr((array.shape, int(flat.view(np.uint32).sum(dtype=np.uint64)))).encode())
    return ChannelFingerprint(
        minimum=float(flat.min()),
        maximum=float(flat.max()),
        low=low,
        median=median,
        high=high,
        distinct=int(np.count_nonzero(ascending[1:] != ascending[:-1])) + 1,
        voxels=digest.hexdigest()[:32],
    )


def same_channels(case: Case, channels: Sequence[ChannelFingerprint | None]) -> list[Problem]:
    """Channels with a file each that hold the same voxels. A grey picture has three of them in one file."""
    first: dict[str, int] = {}
    problems = []
    for number, (source, channel) in enumerate(zip(case.images, channels)):
        if source is None or channel is None or source.channel is not None:
            continue
        other = first.setdefault(channel.voxels, number)
        if other != number and channel.maximum > channel.minimum:
            before = case.images[other]
            assert before is not None
            names = [Path(each.file).name for each in (before, source)]
            which = f"{names[0]} is both" if before == source else f"{names[0]} and {names[1]} are"
            what = f"{which} channel {other} and channel {number}, with the same voxels"
            cure = "Fine where a missing channel was filled with another; otherwise one of the files is the wrong one."
            problems.append(Problem(case.key, "", what, cure, severity="note"))
    return problems
