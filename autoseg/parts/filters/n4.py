"""N4 bias field correction (SimpleITK's): removes the slow change of brightness that coils of an MR scanner leave.

Tustison et al., *N4ITK: improved N3 bias correction* (IEEE TMI 2010). An image is anatomy times a smooth field: the
field's logarithm is a B-spline, which is found in turns on finer and finer meshes, so that the histogram gets sharper.

It is found on a coarse grid of every n-th voxel, since the field is smooth; there its logarithm is interpolated
linearly between voxels, and the channel is divided by it. Only voxels above Otsu's threshold (and above 0) count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...core.bounds import bounded
from ._simpleitk import as_array, as_image, run, said

LEAST_EDGE, LARGEST_EDGE = 16, 64  # voxels of the coarse grid along every axis that has so many
LEAST_EDGE_2D = 32
FEWEST_VOXELS = 256  # above the threshold: of fewer, no field can be told from anatomy
SHORTEST = 4  # voxels along an axis: as many as a cubic spline has control points
MOST_LEVELS, MOST_ITERATIONS = 6, 1000
BINS = 200  # of the histogram, and of Otsu's: SimpleITK's


@dataclass(frozen=True)
class Spec:
    """How the field is looked for: SimpleITK's defaults, but for ``convergence``."""

    iterations: tuple[int, ...] = (50, 50, 50, 50)
    """At most, on each mesh; each mesh halves the cells of the one before."""
    convergence: float = 0.0001
    """A mesh is done when the field changes by less: the coefficient of variation of its ratio to the one before. At
    0.001, SimpleITK's, a planted field of 17 % was left at 12 %; at 0.0001, 3D Slicer's, nothing was left of it."""
    control_points: int = 4
    """Of the first mesh, along each axis."""
    width: float = 0.15
    """Full width at half maximum of the Gaussian that the histogram is sharpened by, of log intensities."""
    noise: float = 0.01
    """Of the Wiener filter that sharpens the histogram."""
    voxel: float = 6.0
    """Edge of the coarse grid's voxels in mm, about: it takes every n-th voxel, and has 16 (in 2-D 32) to 64 along
    each axis that has so many, whatever their size."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.iterations) <= MOST_LEVELS:
            raise ValueError(f"iterations must have 1 to {MOST_LEVELS} entries, found {len(self.iterations)}")
        bounded(self, "iterations", least=1, most=MOST_ITERATIONS)
        bounded(self, "convergence", least=0, below=1)
        bounded(self, "control_points", least=4, most=16)
        cells = (self.control_points - 3) << (len(self.iterations) - 1)
        if cells > LARGEST_EDGE:
            raise ValueError(
                f"iterations and control_points: the last of {len(self.iterations)} meshes would have {cells} cells "
                f"along each axis; it must have at most {LARGEST_EDGE}, as many as the coarse grid has voxels"
            )
        bounded(self, "width", "noise", above=0, most=1)
        bounded(self, "voxel", least=0.01, most=1000)

    def apply(self, channel: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
        """A float32 copy of ``channel`` (z, y, x) without its field; ``spacing`` in mm. Raises DatasetError."""
        return self.apply_estimate(channel, spacing, self.estimate(channel, spacing))

    def estimate(self, channel: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
        """The logarithm of the field, float32, on the coarse grid; 0 where the channel says nothing of a field.

        The same numbers each time. Raises DatasetError where ITK gives up.
        """
        import SimpleITK

        steps = self._steps(channel.shape, spacing)
        coarse = np.ascontiguousarray(channel[_every(steps)], np.float32)
        nothing = np.zeros(coarse.shape, np.float32)
        flat = coarse.shape[0] == 1
        if min(coarse.shape[1:] if flat else coarse.shape) < SHORTEST or coarse.min() == coarse.max():
            return nothing
        image = as_image(coarse, [edge * step for edge, step in zip(spacing, steps)])
        mask = foreground(image, coarse)
        if np.count_nonzero(as_array(mask)) < FEWEST_VOXELS:
            return nothing
        corrector = SimpleITK.N4BiasFieldCorrectionImageFilter()
        corrector.SetMaximumNumberOfIterations(list(self.iterations))
        corrector.SetConvergenceThreshold(self.convergence)
        corrector.SetNumberOfControlPoints([self.control_points] * image.GetDimension())
        corrector.SetBiasFieldFullWidthAtHalfMaximum(self.width)
        corrector.SetWienerFilterNoise(self.noise)
        corrector.SetNumberOfHistogramBins(BINS)
        run(corrector, "N4 bias field correction", image, mask)
        return as_array(said(lambda: corrector.GetLogBiasFieldAsImage(image), "N4 bias field correction"))

    def apply_estimate(self, channel: np.ndarray, spacing: Sequence[float], estimate: np.ndarray) -> np.ndarray:
        """A float32 copy of ``channel`` without the field whose logarithm on the coarse grid is ``estimate``."""
        if not estimate.any():
            return channel.astype(np.float32)
        field = estimate
        for axis, (size, step) in enumerate(zip(channel.shape, self._steps(channel.shape, spacing))):
            if step > 1:
                weights = _between(size, step, field.shape[axis])
                field = np.moveaxis(np.tensordot(weights, field, axes=(1, axis)), 0, axis)
        corrected: np.ndarray = channel / np.exp(field, dtype=np.float32)
        return corrected.astype(np.float32, copy=False)

    def _steps(self, shape: Sequence[int], spacing: Sequence[float]) -> tuple[int, ...]:
        """Every which voxel the coarse grid takes along each axis."""
        least = LEAST_EDGE_2D if shape[0] == 1 else LEAST_EDGE
        return tuple(
            max(1, min(round(self.voxel / edge), size // least), -(-size // LARGEST_EDGE))
            for size, edge in zip(shape, spacing)
        )


def foreground(image: object, array: np.ndarray) -> object:
    """Where the voxels of the SimpleITK ``image``, whose ``array`` (z, y, x) is at hand, count: 1, elsewhere 0."""
    import SimpleITK

    otsu = SimpleITK.OtsuThresholdImageFilter()
    otsu.SetInsideValue(0)
    otsu.SetOutsideValue(1)
    otsu.SetNumberOfHistogramBins(BINS)
    bright = as_array(run(otsu, "Otsu's threshold", image)) > 0
    mask = as_image((bright & (array > 0)).astype(np.uint8), (1.0,) * 3)
    mask.CopyInformation(image)
    return mask


def _every(steps: Sequence[int]) -> tuple[slice, ...]:
    """The middle voxel of every so many."""
    return tuple(slice((step - 1) // 2, None, step) for step in steps)


def _between(size: int, step: int, count: int) -> np.ndarray:
    """(size, count) weights of the ``count`` voxels of the coarse grid in each of the ``size`` of the fine one.

    Beyond the first and the last voxel of the coarse grid, these stay.
    """
    places = (np.arange(size) - (step - 1) // 2) / step
    basis = np.eye(count)
    return np.stack([np.interp(places, np.arange(count), each) for each in basis], axis=1).astype(np.float32)
