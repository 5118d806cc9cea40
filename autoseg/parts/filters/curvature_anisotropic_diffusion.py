"""Curvature anisotropic diffusion: smooths along edges and not across them (SimpleITK's filter).

The modified curvature diffusion equation of Whitaker and Xue, *Variable-conductance, level-set curvature for image
denoising* (ICIP 2001). The time step is the longest that is stable: the shortest edge of a voxel in mm over
2^(dimensions + 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...core.bounds import bounded
from ._simpleitk import as_array, as_image, run

MOST_ITERATIONS = 100


@dataclass(frozen=True)
class Spec:
    """How much is smoothed. The defaults are SimpleITK's."""

    iterations: int = 5
    conductance: float = 3.0
    """Edges whose gradient is weaker than so many times the mean gradient are smoothed away."""

    def __post_init__(self) -> None:
        bounded(self, "iterations", least=1, most=MOST_ITERATIONS)
        bounded(self, "conductance", least=0.01, most=100)

    def apply(self, channel: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
        """A float32 copy of ``channel`` (z, y, x); ``spacing`` in mm."""
        import SimpleITK

        image = as_image(channel.astype(np.float32, copy=False), spacing)
        filter_ = SimpleITK.CurvatureAnisotropicDiffusionImageFilter()
        filter_.SetTimeStep(min(image.GetSpacing()) / 2 ** (image.GetDimension() + 1))
        filter_.SetNumberOfIterations(self.iterations)
        filter_.SetConductanceParameter(self.conductance)
        return as_array(run(filter_, "curvature anisotropic diffusion", image))
