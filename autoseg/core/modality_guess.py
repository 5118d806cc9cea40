"""What kind of image a channel is: by its name where that says so, else a guess by its values.

A guess is for telling and for asking, never for a decision that nobody sees: a CT that was normalised to 0..1, or a PET
of a brain alone, looks like MR.
"""

from __future__ import annotations

import re

import numpy as np

from .regular import regular

CT, MR, PET = MODALITIES = ("CT", "MR", "PET")
LOOKED_AT = 8192  # voxels, at regular distances
FEWEST_VOXELS, FEWEST_VALUES = 8, 8  # below which nothing is said: constant images, masks

AIR = -850.0  # Hounsfield units: air has -1000, the lung about this
PADDING = -1100.0  # nothing in a body is as low: what lies outside of the scanner's circle is one value
SOFT_TISSUE = -200.0, 300.0
LEAST_AIR, LEAST_TISSUE, MOST_BELOW_AIR = 0.005, 0.01, 0.01  # of the voxels looked at

NORMALISED = -20.0  # no z-score is lower in a hundredth of the voxels
RINGING = 0.05  # of the largest values: interpolation by splines leaves negative ones beside edges
MOST_NEGATIVE = 0.01  # of the voxels looked at

TAIL = 5.0  # 99.9th percentile over median of what is brighter than the mean: MR has 2 to 4, bodies in PET 8 and more
SUV, SUV_PEAK = (0.2, 5.0), 2.5  # of tissue in a body: muscle has 0.6, liver 2; and the least that a hot spot has
BECQUEREL, BECQUEREL_PEAK = 500.0, 20_000.0  # per millilitre, the same

_WORDS = {
    CT: "ct cta cbct cect ncct ldct hu",
    PET: "pet suv fdg",
    MR: "mr mra flair pd pdw adc dwi dti swi mprage tof dce dixon spir stir",
}
_WEIGHTED = re.compile(r"t[12](?!\d).*|.*mri")  # T1ce, T2star, cineMRI
_NAMED = {word: modality for modality, words in _WORDS.items() for word in words.split()}


def named_modality(name: str) -> str | None:
    """What the name of a channel says, by its first word that says anything: one of ``MODALITIES``, or None."""
    for word in re.split(r"[\W_]+", name.casefold()):
        found = MR if _WEIGHTED.fullmatch(word) else _NAMED.get(word)
        if found is not None:
            return found
    return None


def guess_modality(channel: np.ndarray) -> str | None:
    """What the values of ``channel`` (z, y, x; any number type, in the unit of its file) look like.

    CT where voxels of air (-1000 Hounsfield units) lie beside those of soft tissue and nothing but padding lies below;
    PET where no value is negative and few are many times as bright as the body, in SUV or becquerel per millilitre;
    otherwise MR. None: it looks like none of them, as photographs (one slice of whole numbers from 0 to 255), masks,
    constant images and values far below 0 without air do. Voxels that are not finite are left out. Looks at about
    ``LOOKED_AT`` voxels; the same image always gets the same answer.
    """
    with np.errstate(over="ignore"):  # beyond float32 is as good as infinite
        values = regular(channel.reshape(-1), LOOKED_AT).astype(np.float32, copy=False)
    values = values[np.isfinite(values)]
    if values.size < FEWEST_VOXELS or len(np.unique(values[:: max(1, values.size // 1024)])) < FEWEST_VALUES:
        return None
    low, high = float(values.min()), float(values.max())
    if low <= AIR and _is_ct(values, low):
        return CT
    if np.count_nonzero(values < min(NORMALISED, -RINGING * high)) > MOST_NEGATIVE * values.size:
        return None
    whole = bool((values == np.rint(values)).all())
    if (channel.ndim < 3 or channel.shape[0] == 1) and whole and 0 <= low and high <= 255:
        return None
    return PET if _is_pet(values, low, high, whole) else MR


def _is_ct(values: np.ndarray, low: float) -> bool:
    air = np.count_nonzero(values <= AIR)
    tissue = np.count_nonzero((values >= SOFT_TISSUE[0]) & (values <= SOFT_TISSUE[1]))
    below_air = np.count_nonzero((values < PADDING) & (values > low))
    enough = bool(air >= LEAST_AIR * values.size and tissue >= LEAST_TISSUE * values.size)
    return enough and bool(below_air <= MOST_BELOW_AIR * values.size)


def _is_pet(values: np.ndarray, low: float, high: float, whole: bool) -> bool:
    if high < SUV_PEAK or low < -SUV[0] or (whole and high < BECQUEREL_PEAK):
        return False
    bright = np.sort(values[values > values.mean(dtype=np.float64)])
    middle, top = float(bright[len(bright) // 2]), float(bright[int(0.999 * (len(bright) - 1))])
    in_suv = SUV[0] <= middle <= SUV[1] and top >= SUV_PEAK and not whole
    in_becquerel = middle >= BECQUEREL and top >= BECQUEREL_PEAK
    return top >= TAIL * middle and (in_suv or in_becquerel)
