"""Where the labels of a case lie and how they spread: from this, planning sees which are each other's mirror image."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..core.geometry import axis_along
from ..core.labels import ExclusiveLabels, Labels
from ..core.masks import MaskLabels
from ..data.fingerprint import Structure

VOXELS_AT_ONCE = 1 << 20
ONE_MASK = ExclusiveLabels({"background": 0, "mask": 1})
PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
"""Axes of each covariance, in the order in which ``Structure.covariance`` holds them."""
_PLACE = {frozenset(pair): place for place, pair in enumerate(PAIRS)}


def label_moments(labels: np.ndarray, foreground: np.ndarray, meaning: Labels) -> np.ndarray:
    """One row per foreground label, or mask: share of the voxels, centre, covariances; NaN where it is absent.

    ``labels`` (z, y, x) holds the user's values, ``foreground`` is True where they count. Lengths are shares of the
    array's edges, so that cases of different size compare.
    """
    if isinstance(meaning, MaskLabels):
        return np.vstack([label_moments(mask, mask != 0, ONE_MASK) for mask in meaning.split(labels)])
    values = np.array(meaning.values[1:])
    sums = np.zeros((10, len(values)))
    slab = max(1, VOXELS_AT_ONCE // max(1, math.prod(labels.shape[1:])))
    for start in range(0, len(labels), slab):
        inside = foreground[start : start + slab]
        at = np.nonzero(inside)
        index = np.searchsorted(values, labels[start : start + slab][at])
        offsets = (start + 0.5, 0.5, 0.5)
        z, y, x = ((where + offset) / edge for where, offset, edge in zip(at, offsets, labels.shape))
        terms = (None, z, y, x, *((z, y, x)[a] * (z, y, x)[b] for a, b in PAIRS))
        sums += [np.bincount(index, weights, minlength=len(values)) for weights in terms]
    voxels = np.where(sums[0] > 0, sums[0], np.nan)
    centre, squares = sums[1:4] / voxels, sums[4:] / voxels
    covariance = squares - [centre[a] * centre[b] for a, b in PAIRS]
    return np.vstack([voxels / labels.size, centre, covariance]).T


def turned(rows: np.ndarray, found: str | None, wanted: str | None) -> np.ndarray:
    """Rows of a file with orientation ``found`` as a file with orientation ``wanted`` would have them.

    Files whose axes run along the same axes of the patient stay as they are, even if some run the other way: networks
    see them so.
    """
    if found is None or wanted is None:
        return rows
    order = [axis_along(found, wanted[2 - axis]) for axis in range(3)]
    if order == [0, 1, 2]:
        return rows
    reverse = [found[2 - old] != wanted[2 - new] for new, old in enumerate(order)]
    places = [np.where(back, 1 - rows[:, 1 + old], rows[:, 1 + old]) for old, back in zip(order, reverse)]
    spreads = [
        (-1 if reverse[a] != reverse[b] else 1) * rows[:, 4 + _PLACE[frozenset((order[a], order[b]))]] for a, b in PAIRS
    ]
    return np.stack([rows[:, 0], *places, *spreads], axis=1)


def pooled(cases: Sequence[np.ndarray]) -> tuple[Structure | None, ...]:
    """What the rows of all cases say about each label; every case that has the label weighs the same."""
    structures: list[Structure | None] = []
    for rows in np.stack(cases, axis=1):
        rows = rows[~np.isnan(rows[:, 0])]
        if len(rows) == 0:
            structures.append(None)
            continue
        centres = rows[:, 1:4]
        offsets = centres - centres.mean(axis=0)
        between = [np.mean(offsets[:, a] * offsets[:, b]) for a, b in PAIRS]
        share, z, y, x = rows[:, :4].mean(axis=0).tolist()
        zz, yy, xx, zy, zx, yx = (rows[:, 4:].mean(axis=0) + between).tolist()
        structures.append(Structure(len(rows), share, (z, y, x), (zz, yy, xx, zy, zx, yx)))
    return tuple(structures)
