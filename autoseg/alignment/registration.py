"""Registration of one channel of a case to another: where each place of the reference lies in it.

Mattes' mutual information (Mattes et al. 2003, PET-CT image registration in the chest using free-form deformations) is
maximised on three grids, from coarse to fine, from several starts on the coarsest. The grids' voxels are a share of the
size of what the reference shows, so that a head and a mouse take equally long. Powell's search along lines (1964) needs
no step length that suits turns and shifts alike: with descent along the gradient one in five phantoms was lost. One
thread and fixed seeds: the same files give the same transform.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.geometry import Geometry
from .grids import places_of
from .record import AFFINE, Alignment, Registration
from .similarity import Similarity
from .volume import Volume

SEED = 1
BINS = 32
COARSE, MIDDLE, FINE = LEVELS = (1 / 24, 1 / 48, 1 / 96)
"""Edges of voxels as shares of the mean edge of the box around the reference's content: 6, 3 and 1.5 mm in a head."""
SAMPLES = (8_000, 16_000, 32_000)
"""Voxels of the reference that are looked at on each grid, at most."""
ITERATIONS, LINE_ITERATIONS, TOLERANCE = 8, 12, 1e-5
STEP, LEAST_STEP = 0.5, 0.03
"""Of a voxel's edge: how far lines are searched at first, and to within what."""
TURN = 0.21
"""Radians, 12 degrees: starts turn by none or by this about each axis and both ways."""
KEPT_STARTS = 2
EVERY = 8
"""Of the places at which starts are compared, one in so many is looked at."""


def register(
    reference: np.ndarray,
    geometry: Geometry,
    channel: np.ndarray,
    its: Geometry,
    alignment: Alignment,
    *,
    quick: bool = False,
) -> Registration:
    """Where ``channel`` (z, y, x) on the grid ``its`` lies to ``reference`` (z, y, x) on ``geometry``; volumes both.

    ``quick`` follows the best start only, on the coarsest grid and, where that shows a shift, on the middle one. The
    result says itself whether it is better than the headers.
    """
    work = _Work.of(Volume.of(reference, geometry), Volume.of(channel, its))
    found = work.from_starts(1 if quick else KEPT_STARTS)
    quickly = (1,) if work.displacement(found) > work.edges[-1] else ()
    for level in quickly if quick else (1, 2):
        found = work.better(found, work.optimised(found, level))
    if alignment.method == AFFINE:
        for level in (1, 2):
            found = work.better(found, work.optimised(_affine(found), level))
    matrix, offset = _parts(found)
    return Registration(
        alignment,
        tuple(matrix.ravel().tolist()),
        tuple(offset.tolist()),
        before=work.similarity.at(np.eye(3), np.zeros(3)),
        after=work.similarity.at(matrix, offset),
        displacement=work.displacement(found),
    )


@dataclass(frozen=True)
class _Work:
    """Two channels on all grids."""

    fixed: tuple[Volume, ...]
    moving: tuple[Volume, ...]
    edges: tuple[float, ...]
    """Of the voxels of each grid, mm."""
    corners: np.ndarray
    """(8, 3): of the box around the reference's content, mm."""
    radius: float
    """Of that content, mm: a turn by 1 / radius moves its border by 1 mm."""
    similarity: Similarity

    @classmethod
    def of(cls, fixed: Volume, moving: Volume) -> _Work:
        box = fixed.content()
        corners = places_of(fixed.geometry, np.array(list(itertools.product(*box.T))))
        size = float(((box[1] - box[0] + 1) * fixed.geometry.spacing).mean())
        edges = tuple(size * share for share in LEVELS)
        inner = fixed.within(box)
        grids = [[volume.coarser(edge) for edge in edges] for volume in (inner, moving)]
        finest = grids[0][-1], grids[1][-1]
        whole = np.array([[0.0] * 3, [edge - 1 for edge in finest[0].array.shape]])
        similarity = Similarity.within(whole, finest[0].array, finest[0].geometry, finest[1].array, finest[1].geometry)
        return cls(tuple(grids[0]), tuple(grids[1]), edges, corners, size / 2, similarity)

    def from_starts(self, kept: int) -> Any:
        """The best of what the best starts lead to on the coarsest grid."""
        starts = sorted(self._starts(), key=lambda start: self.judged(start, EVERY), reverse=True)[:kept]
        return max([*starts, *(self.optimised(start, 0) for start in starts)], key=self.judged)

    def _starts(self) -> list[Any]:
        """Where the header puts the channel first; then turned, or with its centre of mass on that of the reference."""
        import SimpleITK as sitk

        centre = self.corners.mean(0)
        apart = self.moving[0].centre_of_mass() - self.fixed[0].centre_of_mass()
        turns = [(0.0, 0.0, 0.0)] + [
            tuple(sign * TURN * (axis == other) for other in range(3)) for axis in range(3) for sign in (1, -1)
        ]
        starts = []
        for shift, turn in itertools.product((np.zeros(3), apart), turns):
            start = sitk.Euler3DTransform()
            start.SetCenter(centre.tolist())
            start.SetRotation(*turn)
            start.SetTranslation(shift.tolist())
            starts.append(start)
        return starts

    def displacement(self, transform: Any) -> float:
        """Millimetres by which it moves the farthest corner."""
        matrix, offset = _parts(transform)
        return float(np.linalg.norm(self.corners @ matrix.T + offset - self.corners, axis=1).max())

    def judged(self, transform: Any, every: int = 1) -> float:
        return self.similarity.at(*_parts(transform), every)

    def better(self, before: Any, after: Any) -> Any:
        return after if self.judged(after) > self.judged(before) else before

    def optimised(self, start: Any, level: int) -> Any:
        """``start`` improved on one grid; itself where that has no end."""
        import SimpleITK as sitk

        fixed, edge = self.fixed[level].image(), self.edges[level]
        method = sitk.ImageRegistrationMethod()
        method.SetNumberOfWorkUnits(1)  # sums of several threads differ in their last digits
        method.SetMetricAsMattesMutualInformation(BINS)
        share = SAMPLES[level] / fixed.GetNumberOfPixels()
        if share < 1:
            method.SetMetricSamplingStrategy(method.REGULAR)
            method.SetMetricSamplingPercentage(share, SEED)
        method.MetricUseFixedImageGradientFilterOff()  # gradients are not needed
        method.MetricUseMovingImageGradientFilterOff()
        method.SetInterpolator(sitk.sitkLinear)
        method.SetOptimizerAsPowell(ITERATIONS, LINE_ITERATIONS, STEP * edge, LEAST_STEP * edge, TOLERANCE)
        turning = len(start.GetParameters()) - 3  # the last three are the shift in mm
        method.SetOptimizerScales([self.radius] * turning + [1.0] * 3)
        method.SetInitialTransform(start, inPlace=False)
        try:
            found = method.Execute(fixed, self.moving[level].image())
        except RuntimeError:  # nothing of one lies in the other any more
            return start
        return found.GetBackTransform() if isinstance(found, sitk.CompositeTransform) else found


def _affine(transform: Any) -> Any:
    import SimpleITK as sitk

    found = sitk.AffineTransform(3)
    found.SetCenter(transform.GetCenter())
    found.SetMatrix(transform.GetMatrix())
    found.SetTranslation(transform.GetTranslation())
    return found


def _parts(transform: Any) -> tuple[np.ndarray, np.ndarray]:
    """``matrix`` (3, 3) and ``offset`` (3): a place p goes to matrix @ p + offset."""
    matrix = np.array(transform.GetMatrix()).reshape(3, 3)
    centre = np.array(transform.GetCenter())
    return matrix, centre + np.array(transform.GetTranslation()) - matrix @ centre
