"""What the images decide: target spacing, axis order, normalisation, and a coarser stage where patches see too little.

Rules and constants are those of Isensee et al. 2021 as nnU-Net v2 2.8.1 applies them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import PlanningError
from ..fingerprint import Fingerprint, Intensities
from ..parts.normalizers import ct, none, rescale, rgb, zscore

ANISOTROPY = 3.0  # one axis counts as coarse when it is more than this many times coarser and shorter than the others
FINE_PERCENTILE = 10  # of the coarse axis' spacings: keeps the thin slices of the better scans
MASK_BELOW = 0.75  # normalise within the nonzero region when cropping to it leaves less than this share of the voxels
LOWRES_STEP = 1.03
LOWRES_ALIKE = 2.0  # spacings within this factor grow together
LOWRES_GAIN = 2.0  # the coarser stage is dropped unless it has this many times fewer voxels


def target_spacing(fingerprint: Fingerprint) -> tuple[float, float, float]:
    """mm along the file's (z, y, x): the median of the cases, or finer along one coarse, short axis."""
    spacings = np.array(fingerprint.spacings)
    target = np.percentile(spacings, 50, axis=0)
    size = np.percentile(np.array(fingerprint.shapes), 50, axis=0)
    coarse = int(np.argmax(target))
    others = [axis for axis in range(3) if axis != coarse]
    largest_other = float(target[others].max())
    if target[coarse] > ANISOTROPY * largest_other and size[coarse] * ANISOTROPY < size[others].min():
        fine = float(np.percentile(spacings[:, coarse], FINE_PERCENTILE))
        target[coarse] = fine if fine >= largest_other else largest_other + 1e-5
    return float(target[0]), float(target[1]), float(target[2])


def axis_order(spacing: Sequence[float]) -> tuple[int, int, int]:
    """The coarsest axis first, the others in the file's order."""
    coarse = int(np.argmax(spacing))
    first, second = (axis for axis in range(3) if axis != coarse)
    return coarse, first, second


def median_shape(fingerprint: Fingerprint, spacing: Sequence[float]) -> np.ndarray:
    """Median over the cases of their cropped shape at ``spacing``, in the file's axes; halves are possible."""
    shapes = [
        [round(old / new * size) for old, new, size in zip(case.spacing, spacing, case.cropped_shape)]
        for case in fingerprint.cases.values()
    ]
    median: np.ndarray = np.median(shapes, axis=0)
    return median


def normalizers(channels: Sequence[str], fingerprint: Fingerprint) -> tuple[Any, ...]:
    """One per channel, chosen by its name in any case.

    ``CT``, ``noNorm`` (or ``none``), ``rescale_to_0_1`` and ``rgb_to_0_1`` say how; every other name gets a z-score.
    So do R, G and B, as in nnU-Net: stains and lamps differ between images like scanners do.
    """
    fractions = [case.cropped_fraction for case in fingerprint.cases.values()]
    masked = bool(np.median(fractions) < MASK_BELOW)
    fixed = {"nonorm": none.Spec(), "none": none.Spec(), "rescale_to_0_1": rescale.Spec(), "rgb_to_0_1": rgb.Spec()}
    return tuple(
        _window(channel, intensities)
        if channel.casefold() == "ct"
        else fixed.get(channel.casefold(), zscore.Spec(masked))
        for channel, intensities in zip(channels, fingerprint.intensities)
    )


def coarser(
    spacing: np.ndarray, full_spacing: np.ndarray, full_shape: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """One step towards a coarser stage: new spacing, median shape at it, and the voxels of that shape before rounding.

    Finer axes grow first, until all spacings are alike.
    """
    finer = spacing.max() / spacing > LOWRES_ALIKE
    grown = np.where(finer, spacing * LOWRES_STEP, spacing) if finer.any() else spacing * LOWRES_STEP
    shape = full_spacing / grown * full_shape
    return grown, np.round(shape), float(np.prod(shape))


def _window(channel: str, intensities: Intensities) -> ct.Spec:
    values = (intensities.mean, intensities.std, intensities.percentile_00_5, intensities.percentile_99_5)
    if not all(math.isfinite(value) for value in values):
        raise PlanningError(
            f"channel {channel!r} is to be normalised by the intensities of the labelled structures, but no training "
            "case has any labelled voxel; check the label files, or name the channel differently in dataset.json"
        )
    return ct.Spec(*values)
