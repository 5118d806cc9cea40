"""The surface of a mask as small pieces (surfels) with their areas: what surface scores by area are made of.

Around each corner at which eight voxels meet, marching cubes (Lorensen and Cline 1987) lays triangles half way between
voxels inside and outside. A surfel lies at that corner and has the area of the triangles, in mm² (Nikolov et al. 2018,
"Deep learning to achieve clinically applicable segmentation of head and neck anatomy for radiotherapy", arXiv
1809.04430). In 2-D it is the corner of four pixels, and the length of the line there, in mm. Beyond the image all is
outside.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np

PERCENT = 95


@dataclass(frozen=True)
class Surfels:
    """Of one mask, or of several that do not touch each other."""

    points: np.ndarray
    """(n, axes), mm."""
    areas: np.ndarray
    """(n,), mm² (mm in 2-D)."""
    owners: np.ndarray
    """(n,) the number of the mask that each belongs to."""

    @classmethod
    def of(cls, numbered: np.ndarray, spacing: Sequence[float]) -> Surfels:
        """Of a mask, or of masks numbered from 1 that do not share a corner; 0 is outside."""
        around = np.pad(numbered, 1)
        corners = [around[view] for view in _views(around.ndim)]
        code = np.zeros(corners[0].shape, np.uint8)
        for bit, corner in enumerate(corners):
            code |= (corner > 0).astype(np.uint8) << np.uint8(bit)
        border = (code != 0) & (code != (1 << len(corners)) - 1)
        owners = np.zeros(np.count_nonzero(border), numbered.dtype)
        for corner in corners:
            np.maximum(owners, corner[border], out=owners)
        points = np.argwhere(border) * np.asarray(spacing, np.float64)
        return cls(points, _areas(tuple(map(float, spacing)))[code[border]], owners)

    def split(self, count: int) -> list[Surfels]:
        """Those of the numbers 0 to ``count``, which may be none."""
        order = np.argsort(self.owners, kind="stable")
        ends = np.searchsorted(self.owners[order], np.arange(1, count + 1))
        return [Surfels(self.points[part], self.areas[part], self.owners[part]) for part in np.split(order, ends)]

    @classmethod
    def joined(cls, several: Sequence[Surfels]) -> Surfels:
        return cls(*(np.concatenate([getattr(each, name) for each in several]) for name in vars(several[0])))

    def percentile(self, distances: np.ndarray) -> float:
        """The least of ``distances``, one for each surfel, that 95 % of the area do not exceed."""
        order = np.argsort(distances)
        share = np.cumsum(self.areas[order]) / self.areas.sum()
        return float(distances[order[min(int(np.searchsorted(share, PERCENT / 100)), len(order) - 1)]])


def _views(axes: int) -> Iterator[tuple[slice, ...]]:
    """The voxels that meet at each corner, one after the other."""
    for far in product((False, True), repeat=axes):
        yield tuple(slice(1, None) if each else slice(None, -1) for each in far)


@lru_cache(maxsize=8)
def _areas(spacing: tuple[float, ...]) -> np.ndarray:
    """Of every code: which of the voxels that meet at a corner are inside, a bit each in the order of ``_views``."""
    if len(spacing) == 2:
        return _lengths(spacing)
    z, y, x = spacing
    scale = np.array([y * x, z * x, z * y])
    return np.array([np.linalg.norm(normals * scale, axis=1).sum() for normals in _normals()])


def _lengths(spacing: tuple[float, ...]) -> np.ndarray:
    """Of four pixels: a corner is cut off half way, two side by side along an axis are parted by a line along it."""
    cut, found = math.hypot(*spacing) / 2, np.zeros(16)
    for code in range(1, 15):
        inside = np.array([code >> bit & 1 for bit in range(4)]).reshape(2, 2)
        if inside.sum() != 2:
            found[code] = cut
        elif inside[0, 0] == inside[1, 1]:
            found[code] = 2 * cut
        else:
            found[code] = spacing[0] if inside[0, 0] == inside[1, 0] else spacing[1]
    return found


@lru_cache(maxsize=1)
def _normals() -> tuple[np.ndarray, ...]:
    """Of each of 256 codes the triangles' normals (triangles, 3) on cubic voxels of edge 1, as long as their areas.

    A mask and what it leaves have one surface: of more than four voxels inside, it is that of those outside.
    """
    from skimage.measure import marching_cubes

    found = [np.zeros((0, 3))] * 256
    for code in range(1, 255):
        inside = np.array([code >> bit & 1 for bit in range(8)], np.float32).reshape(2, 2, 2)
        points, triangles, _, _ = marching_cubes(inside if inside.sum() <= 4 else 1 - inside, 0.5, method="lorensen")
        one, two, three = np.moveaxis(points[triangles].astype(np.float64), 1, 0)
        found[code] = np.cross(two - one, three - one) / 2
    return tuple(found)
