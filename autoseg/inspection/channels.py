"""What is measured of the values of one channel, and which channels of a case hold the same voxels."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..core.modality_guess import AIR, CT, guess_modality, named_modality
from ..core.regular import regular
from ..data.dataset import Case
from ..data.fingerprint import ChannelFingerprint, is_colour
from ..parts.normalizers.histogram import PERCENTILES
from .brightness import slow_variation
from .problem import Problem

LOOKED_AT = 1024  # voxels, at regular distances
SHARES = np.array(PERCENTILES) / 100
LOOKED_AT_FOR_LANDMARKS = 8192  # of which the nonzero ones count


def channel_fingerprint(array: np.ndarray, name: str = "", *, variation: bool = False) -> ChannelFingerprint:
    """Of (z, y, x), float32, contiguous; minimum or maximum is not finite where a voxel is not.

    ``name``: of the channel; where it says what this is, values are not asked. ``variation``: that of brightness is
    measured, too.
    """
    flat = array.reshape(-1)
    sample = regular(flat, LOOKED_AT)
    ascending = np.sort(sample)
    last = len(ascending) - 1
    low, median, high = (float(ascending[round(last * share)]) for share in (0.01, 0.5, 0.99))
    digest = hashlib.sha256(sample.tobytes())
    # The sum is that of the bits, which is exact: it tells apart what differs between the voxels looked at.
    digest.update(repr((array.shape, int(flat.view(np.uint32).sum(dtype=np.uint64)))).encode())
    minimum, maximum = float(flat.min()), float(flat.max())
    finite = math.isfinite(minimum) and math.isfinite(maximum)
    landmarks = _landmarks(regular(flat, LOOKED_AT_FOR_LANDMARKS)) if finite else ((), ())
    return ChannelFingerprint(
        minimum=minimum,
        maximum=maximum,
        low=low,
        median=median,
        high=high,
        distinct=int(np.count_nonzero(ascending[1:] != ascending[:-1])) + 1,
        voxels=digest.hexdigest()[:32],
        landmarks=landmarks[0],
        bright_landmarks=landmarks[1],
        variation=slow_variation(array) if variation and finite else None,
        modality=_guess(array, name, minimum) if finite else None,
    )


def _guess(array: np.ndarray, name: str, minimum: float) -> str | None:
    """Where the name says nothing, or the values seem to deny it."""
    named = named_modality(name)
    asked = not is_colour(name) if named is None else named != CT and minimum <= AIR
    return guess_modality(array) if asked else None


def _landmarks(sample: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Percentiles of the nonzero voxels of a sample, and of those above the mean; empty where there are none."""
    ascending = np.sort(sample[sample != 0])
    bright = ascending[np.searchsorted(ascending, sample.mean(dtype=np.float64), side="right") :]
    return _percentiles(ascending), _percentiles(bright)


def _percentiles(ascending: np.ndarray) -> tuple[float, ...]:
    if not ascending.size:
        return ()
    return tuple(np.interp(SHARES * (len(ascending) - 1), np.arange(len(ascending)), ascending).tolist())


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
