"""Slow variation of brightness, as coils of an MR scanner leave it: measured cheaply, and told where it is large."""

from __future__ import annotations

import shlex
import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from ..core.names import short
from ..data.fingerprint import CaseFingerprint, Fingerprint
from .outliers import ALL
from .problem import Problem

MEASURED_CASES = 12  # of a dataset, about: a millisecond each
EDGE, EDGE_2D = 20, 64  # voxels of the coarse grid along each axis, at most
FEWEST_VOXELS = 200  # in the body, on the coarse grid
MOST_NEGATIVE = 0.05  # of the voxels that are not 0: with more, 0 is no darkness, and logarithms mean nothing
BODY = 0.5  # of the mean of all positive voxels: what is darker is air, or bone


def is_measured(key: str, cases: int) -> bool:
    """Whether the case ``key`` is one of the few of a dataset with so many ``cases`` that are looked at."""
    return zlib.crc32(key.encode(errors="surrogatepass")) % max(1, cases) < MEASURED_CASES


def slow_variation(array: np.ndarray) -> float | None:
    """How far brightness varies slowly, as a share of it, in (z, y, x); None where little is bright or 0 not dark.

    The standard deviation, over the body, of the polynomial of second order in z, y and x that is closest to the
    logarithm of its voxels (least squares). Fields of coils are nearly such polynomials, structures of a head are not;
    those of an abdomen partly are, so a large variation is a hint and no proof.
    """
    edge = EDGE_2D if array.shape[0] == 1 else EDGE
    coarse = array[tuple(slice(None, None, -(-size // edge)) for size in array.shape)]
    positive = coarse[coarse > 0]
    if positive.size < FEWEST_VOXELS or np.count_nonzero(coarse < 0) > MOST_NEGATIVE * np.count_nonzero(coarse):
        return None
    body = _without_edge(coarse > BODY * float(positive.mean(dtype=np.float64)))
    if np.count_nonzero(body) < FEWEST_VOXELS:
        return None
    z, y, x = (2 * along / size - 1 for along, size in zip(np.nonzero(body), coarse.shape))
    terms = np.stack([np.ones(z.size), z, y, x, z * z, y * y, x * x, z * y, z * x, y * x], axis=1)
    values = np.log(coarse[body].astype(np.float64))
    factors, *_ = np.linalg.lstsq(terms.T @ terms, terms.T @ values, rcond=1e-9)  # a single slice has no z
    return float((terms @ factors).std())


def _without_edge(body: np.ndarray) -> np.ndarray:
    """Where all neighbours within the slice are body, too: those at its edge are darker, as they hold some air."""
    inner = np.zeros_like(body)
    here, less, more = slice(1, -1), slice(None, -2), slice(2, None)
    beside = body[:, less, here] & body[:, more, here] & body[:, here, less] & body[:, here, more]
    inner[:, here, here] = body[:, here, here] & beside
    return inner


def bias_fields(cases: Mapping[str, CaseFingerprint], channels: Sequence[str]) -> list[Problem]:
    """Channels in which a bias field is likely to be worth correcting."""
    problems = []
    for number, name in enumerate(channels):
        varies = Fingerprint(dict(cases), ()).large_variation(number)
        if varies is None:
            continue
        what = f"brightness of channel {number} ({short(name, 40)}) {varies}"
        flag = f"--bias-correction {shlex.quote(short(name, 40))}"
        cure = (
            f"Fine as it is. `autoseg plan_and_preprocess DATASET {flag}` corrects it, which may help and takes time."
        )
        problems.append(Problem(ALL, "", what, cure, "note"))
    return problems
