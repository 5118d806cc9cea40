"""What the images decide: target spacing, axis order, normalisation, and a coarser stage where patches see too little.

Rules and constants are those of Isensee et al. 2021 as nnU-Net v2 2.8.1 applies them, but for ``with_batch_dice``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..configuration import Configuration
from ..core.geometry import FILE_AXES
from ..data.fingerprint import Fingerprint, Intensities
from ..errors import PlanningError
from ..parts.losses import dice_ce
from ..parts.normalizers import ct, none, rescale, rgb, zscore

ANISOTROPY = 3.0  # one axis counts as coarse when it is more than this many times coarser and shorter than the others
FINE_PERCENTILE = 10  # of the coarse axis' spacings: keeps the thin slices of the better scans
MASK_BELOW = 0.75  # normalise within the nonzero region when cropping to it leaves less than this share of the voxels
LOWRES_STEP = 1.03
LOWRES_ALIKE = 2.0  # spacings within this factor grow together
MOST_VOXELS = 2.0**34  # of the median image, 64 GB: the largest volumes of light-sheet microscopes have half as many
HELD_BELOW = 0.5  # of all labels, in a patch on average: then a Dice of each patch would judge mostly absent labels
LOWRES_GAIN = 2.0  # the coarser stage is dropped unless it has this many times fewer voxels


def target_spacing(fingerprint: Fingerprint) -> tuple[tuple[float, float, float], str]:
    """mm along the file's (z, y, x), and why: the median of the cases, or finer along one coarse, short axis."""
    spacings = np.array(fingerprint.spacings)
    target = np.percentile(spacings, 50, axis=0)
    size = np.percentile(np.array(fingerprint.shapes), 50, axis=0)
    coarse = int(np.argmax(target))
    others = [axis for axis in range(3) if axis != coarse]
    largest_other = float(target[others].max())
    why = f"the median of {len(spacings)} cases"
    if target[coarse] > ANISOTROPY * largest_other and size[coarse] * ANISOTROPY < size[others].min():
        fine = float(np.percentile(spacings[:, coarse], FINE_PERCENTILE))
        axis = f"the {FILE_AXES[coarse]}, coarse ({target[coarse]:.4g} mm) and short"
        why += f"; along {axis}, their {FINE_PERCENTILE}th percentile"
        if fine < largest_other:
            why += f" ({fine:.4g} mm), but no finer than the other axes"
        target[coarse] = fine if fine >= largest_other else largest_other + 1e-5
    z, y, x = target.tolist()
    return (z, y, x), why


def axis_order(spacing: Sequence[float]) -> tuple[int, int, int]:
    """The coarsest axis first, the others in the file's order."""
    coarse = int(np.argmax(spacing))
    first, second = (axis for axis in range(3) if axis != coarse)
    return coarse, first, second


def median_shape(fingerprint: Fingerprint, spacing: Sequence[float]) -> np.ndarray:
    """Median over the cases of their cropped shape at ``spacing``, in the file's axes; halves are possible.

    Raises PlanningError for a shape that no machine could hold.
    """
    shapes = [
        [old / new * size for old, new, size in zip(case.spacing, spacing, case.cropped_shape)]
        for case in fingerprint.cases.values()
    ]
    if not np.isfinite(shapes).all():
        raise PlanningError(f"at {_lengths(spacing)} mm, the images have more voxels than can be counted")
    median: np.ndarray = np.median(np.round(shapes), axis=0)
    if math.prod(median.tolist()) > MOST_VOXELS:
        raise PlanningError(
            f"at {_lengths(spacing)} mm, the median image would have {_lengths(median.tolist())} voxels, which no "
            "machine holds. Spacing is in mm: correct it in the files, or give larger voxels (--spacing)"
        )
    return median


def _lengths(values: Sequence[float]) -> str:
    return " x ".join(f"{value:.4g}" for value in values)


def normalizers(channels: Sequence[str], fingerprint: Fingerprint) -> tuple[tuple[Any, ...], tuple[str, ...]]:
    """One per channel, chosen by its name in any case, and why.

    ``CT``, ``noNorm`` (or ``none``), ``rescale_to_0_1`` and ``rgb_to_0_1`` say how; every other name gets a z-score.
    So do R, G and B, as in nnU-Net: stains and lamps differ between images like scanners do.
    """
    fixed = {
        "nonorm": (none.Spec(), "left as it is, as its name asks"),
        "none": (none.Spec(), "left as it is, as its name asks"),
        "rescale_to_0_1": (rescale.Spec(), "each image's range to 0..1, as its name asks"),
        "rgb_to_0_1": (rgb.Spec(), "0..255 to 0..1, as its name asks"),
    }
    chosen = [
        window(channel, intensities)
        if channel.casefold() == "ct"
        else fixed.get(channel.casefold()) or z_score(fingerprint)
        for channel, intensities in zip(channels, fingerprint.intensities)
    ]
    return tuple(part for part, _ in chosen), tuple(why for _, why in chosen)


def z_score(fingerprint: Fingerprint) -> tuple[zscore.Spec, str]:
    """The part and why."""
    masked, fraction = is_masked(fingerprint), _fraction(fingerprint)
    kept = f"cropping to nonzero keeps {fraction:.0%} of the voxels, limit {MASK_BELOW:.0%}"
    where = "the nonzero region of each image" if masked else "each whole image"
    return zscore.Spec(masked), f"z-score over {where} ({kept})"


def is_masked(fingerprint: Fingerprint) -> bool:
    """Whether so much around the body is 0 that statistics are those of the nonzero region."""
    return _fraction(fingerprint) < MASK_BELOW


def _fraction(fingerprint: Fingerprint) -> float:
    return float(np.median([case.cropped_fraction for case in fingerprint.cases.values()]))


def coarser(
    spacing: np.ndarray, full_spacing: np.ndarray, full_shape: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """One step towards a coarser stage: new spacing, median shape at it, and the voxels of that shape before rounding.

    Finer axes grow first, until all spacings are alike.
    """
    finer = spacing.max() / spacing > LOWRES_ALIKE
    grown = np.where(finer, spacing * LOWRES_STEP, spacing) if finer.any() else spacing * LOWRES_STEP
    shape = full_spacing / grown * full_shape
    return grown, np.maximum(np.round(shape), 1.0), float(np.prod(shape))


def with_batch_dice(configuration: Configuration, fingerprint: Fingerprint, order: Sequence[int]) -> Configuration:
    """One Dice over all patches of a batch where a patch holds only a small part of the labels.

    The Dice of a label that is not in a patch is 0 whatever little the network sees of it there: it teaches nothing,
    and what the present labels teach is divided by the number of all. ``order`` are the network's axes in the files.
    """
    loss = configuration.loss
    if not isinstance(loss, dice_ce.Spec) or loss.batch_dice or configuration.dimensions == 2:
        return configuration
    seen = [edge / size for edge, size in zip(configuration.patch_size, configuration.median_shape)]
    held, labels = labels_held(fingerprint, [seen[list(order).index(axis)] for axis in range(3)])
    if held >= HELD_BELOW * labels:
        return configuration
    why = f"loss: one Dice over all patches of a batch, since a patch holds {held:.0f} of {labels} labels on average"
    return replace(configuration, loss=replace(loss, batch_dice=True), reasons=(*configuration.reasons, why))


def labels_held(fingerprint: Fingerprint, seen: Sequence[float]) -> tuple[float, int]:
    """How many labels a patch holds on average, that lies anywhere and sees these shares of the image along the files'
    axes, and how many there are.

    A label is taken for a box with its variance, which a patch meets with the sum of both edges as the probability.
    """
    there = [structure for structure in fingerprint.structures if structure is not None]
    held = sum(
        structure.cases
        / len(fingerprint.cases)
        * math.prod(
            min(1.0, edge + math.sqrt(12 * max(0.0, spread))) for edge, spread in zip(seen, structure.covariance)
        )
        for structure in there
    )
    return held, len(there)


def window(channel: str, intensities: Intensities) -> tuple[ct.Spec, str]:
    """The part and why. Raises PlanningError where nothing was measured in labelled structures."""
    values = (intensities.mean, intensities.std, intensities.percentile_00_5, intensities.percentile_99_5)
    if not all(math.isfinite(value) for value in values):
        raise PlanningError(
            f"channel {channel!r} is to be normalised by the intensities of the labelled structures, but no training "
            "case has any labelled voxel; check the label files, or name the channel differently in dataset.json"
        )
    low, high = intensities.percentile_00_5, intensities.percentile_99_5
    why = f"one scale for all images, since it is CT: clipped to {low:.4g}..{high:.4g}, 99 % of the labelled voxels"
    try:
        return ct.Spec(*values), why
    except ValueError as error:
        raise PlanningError(f"channel {channel!r} cannot be normalised as CT: {error}; are all images right?") from None
