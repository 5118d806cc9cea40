"""The surface of a label as triangles, in mm, for programs that show, measure or print it.

Triangles come from marching cubes (Lorensen and Cline 1987), half way between voxels inside and outside. Smoothing is
Taubin's (1995, "A signal processing approach to fair surface design"), after which the surface is moved along its
normals until it encloses the volume that was asked for. Coordinates are LPS (x to the patient's left, y to the back, z
to the head), those of DICOM, ITK and our own geometry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..core.geometry import Geometry

PASSES = 20
SHRINK, GROW = 0.5, -0.53  # lambda and mu: what varies over less than about 2 pi / 0.34 points is taken away
PRECISION, MOST_MOVES = 1e-4, 30  # of the volume


@dataclass(frozen=True)
class Surface:
    """Closed; from outside, the corners of each triangle run counterclockwise."""

    points: np.ndarray
    """(n, 3) float64: x, y, z in mm, LPS."""
    triangles: np.ndarray
    """(m, 3) numbers of points."""

    @classmethod
    def of(cls, mask: np.ndarray, geometry: Geometry, start: Sequence[int] = (0, 0, 0)) -> Surface:
        """Of a mask (z, y, x) that is not empty and begins at the voxel ``start`` of a 3-D ``geometry``."""
        from skimage.measure import marching_cubes

        padded = np.pad(mask, 1).astype(np.float32)  # so that it is closed where the label meets the image's border
        points, triangles, _, _ = marching_cubes(padded, 0.5, method="lorensen")
        voxels = points.astype(np.float64) - 1 + np.asarray(start)
        direction = np.reshape(geometry.direction, (3, 3))
        placed = (voxels * geometry.spacing)[:, ::-1] @ direction.T + np.asarray(geometry.origin)
        found = cls(placed, np.asarray(triangles, np.int64))
        return found if found.volume > 0 else replace(found, triangles=found.triangles[:, ::-1])

    @property
    def volume(self) -> float:
        """mm³, by the divergence theorem; negative where the triangles look inward."""
        first, second, third = self._corners()
        return float(np.einsum("ij,ij->", first, np.cross(second, third)) / 6)

    @property
    def faces(self) -> np.ndarray:
        """(m, 3): the outward normal of each triangle, as long as its area in mm²."""
        first, second, third = self._corners()
        return np.cross(second - first, third - first) / 2

    def smoothed(self, volume: float) -> Surface:
        """Without the steps of voxels, enclosing ``volume`` in mm³ (to 0.01 %)."""
        neighbours, points = self._neighbours(), self.points
        for factor in (SHRINK, GROW) * PASSES:
            points = points + factor * (neighbours @ points - points)
        return replace(self, points=points)._enclosing(volume)

    def _enclosing(self, volume: float) -> Surface:
        """Newton's method: all points move equally far along their normals."""
        found = self
        for _ in range(MOST_MOVES):
            missing = volume - found.volume
            if abs(missing) <= PRECISION * volume:
                break
            grown = found._growth()  # of the volume, as each point moves
            lengths = np.linalg.norm(grown, axis=1)
            normals = grown / np.maximum(lengths, np.finfo(float).tiny)[:, None]
            found = replace(found, points=found.points + missing / lengths.sum() * normals)
        return found

    def _growth(self) -> np.ndarray:
        """(n, 3): a third of the areas around each point, as a vector."""
        faces, count = self.faces, len(self.points)
        corners = self.triangles.ravel()
        return np.stack([np.bincount(corners, np.repeat(axis, 3), count) for axis in faces.T], 1) / 3

    def _neighbours(self) -> Any:
        """(n, n) sparse: takes the mean of a point's neighbours. Each edge runs once in either direction."""
        from scipy.sparse import coo_matrix

        count = len(self.points)
        begin, end = self.triangles.ravel(), self.triangles[:, (1, 2, 0)].ravel()
        degree = np.bincount(begin, minlength=count)
        return coo_matrix((1 / degree[begin], (begin, end)), (count, count)).tocsr()

    def _corners(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """From the middle, so that places far from the origin cost no digits."""
        points = self.points - self.points.mean(0)
        return points[self.triangles[:, 0]], points[self.triangles[:, 1]], points[self.triangles[:, 2]]
