"""One case as a volume that fits into a page, for its viewer: all slices, of larger voxels where need be, in bytes."""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Iterable, Sequence

import numpy as np

from ..core.geometry import Image
from ..core.modality_guess import CT, guess_modality, named_modality
from ..core.regular import regular
from ..evaluation.picture import fullest
from .packed import Volume, VolumeChannel, VolumeLayer
from .pictures import Drawing
from .planes import planes, turned, turned_spacing

DENSEST = 0.3  # characters per voxel and channel: where packing begins to look for what fits
LEAST_VOXELS = 20_000  # of what is still worth a look, where the file has more
BYTE = 255
ORDER = "; from right to left, front to back, feet to head"
Voxels = tuple[int, int, int]
MEASURED = 1 << 18  # voxels of which the range of values is taken
ENDS, SEEN_FIRST = (0.01, 99.99), (0.5, 99.5)  # percentiles
BEYOND = 0.25  # of the range between ENDS: farther away single voxels would make the steps of all others coarse
CT_STEPS = ((0, -1024.0), (55, -200.0), (222, 300.0), (255, 1500.0))  # Hounsfield units: finest in soft tissue
CT_WINDOWS = (
    ("soft tissue", 400.0, 40.0),
    ("lung", 1500.0, -600.0),
    ("bone", 1800.0, 400.0),
    ("mediastinum", 350.0, 50.0),
    ("liver", 150.0, 30.0),
    ("brain", 80.0, 40.0),
)
"""Width and level in Hounsfield units, as radiologists use them."""
LEAST_CT = 100.0  # Hounsfield units between the percentiles of what is no longer normalised


def pack(
    case: str,
    image: Image,
    drawing: Drawing,
    channels: Sequence[str],
    *,
    most: int,
    first: str = "reference",
    last: str = "errors",
    nothing: str = "none",
    at_errors: bool = False,
) -> Volume | None:
    """What is drawn of a case, all slices of it; None where ``most``, the characters that it may take in the page, hold
    nothing worth a look.

    ``channels`` are their names; those that the case lacks are left out. ``first`` and ``last`` are the names of the
    drawing's reference and errors, ``nothing`` says where there are none. Opened at the slices with the most labelled
    voxels or, ``at_errors``, with the most errors.
    """
    numbers = ((first, drawing.reference), ("prediction", drawing.prediction), (last, drawing.errors))
    layers = {name: each for name, each in numbers if each is not None}
    wanted = (last, first, "prediction") if at_errors else (first, "prediction")
    drawn = next((name for name in wanted if name in layers and layers[name].any()), first)
    shape, spacing = _three(drawing.grey.shape), turned_spacing(image.geometry)
    there = [place for place in range(len(image.array)) if place not in image.absent]
    voxels = most / (DENSEST * len(there))
    while voxels >= min(LEAST_VOXELS, math.prod(shape)):
        factors = joined(shape, spacing, voxels)
        small = {name: smaller_labels(each, factors) for name, each in layers.items()}
        found = Volume(
            case=case,
            shown=_shown(factors, spacing, image.geometry.dimensions),
            shape=_three(small[first].shape),
            spacing=_rounded(factor * length for factor, length in zip(factors, spacing)),
            planes=planes(image.geometry),
            at=_three(fullest(small[drawn] != 0, axis) for axis in range(3)),
            channels=tuple(_channel(image, place, channels[place], factors) for place in there),
            layers=tuple(_layer(name, each, nothing if name == last else None) for name, each in small.items()),
        )
        if found.characters <= most:
            return found
        voxels = min(voxels, math.prod(found.shape)) * min(0.9, most / found.characters)
    return None


def joined(shape: Voxels, spacing: tuple[float, float, float], most: float) -> Voxels:
    """How many voxels along (z, y, x) become one so that at most ``most`` are left.

    None becomes longer, in mm, than need be; where all are alike, slices become thicker first, and axial ones keep what
    can be seen in them.
    """
    steps = {(length * count, axis > 0) for axis, length in enumerate(spacing) for count in range(1, shape[axis] + 1)}
    found = [1, 1, 1]
    for longest, in_slice in sorted(steps):
        for axis in (1, 2) if in_slice else (0,):
            found[axis] = min(shape[axis], max(1, int(longest / spacing[axis] + 1e-6)))
        if math.prod(size // factor for size, factor in zip(shape, found)) <= most:
            break
    return found[0], found[1], found[2]


def smaller(array: np.ndarray, factors: Voxels) -> np.ndarray:
    """Means (float32) of blocks of ``factors`` voxels; what is left over at the ends is dropped, as by
    ``smaller_labels``."""
    counts = tuple(size // factor for size, factor in zip(array.shape, factors))
    (a, b, c), (_, rows, columns) = factors, counts
    found = np.empty(counts, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is drawn as the end of the range
        for place in range(counts[0]):
            slab = array[place * a : (place + 1) * a, : rows * b, : columns * c].mean(0, dtype=np.float32)
            found[place] = slab.reshape(rows, b, columns, c).mean((1, 3))
    return found


def smaller_labels(array: np.ndarray, factors: Voxels) -> np.ndarray:
    """Of every block of ``factors`` voxels the one in the middle."""
    counts = [size // factor for size, factor in zip(array.shape, factors)]
    starts = [slice(factor // 2, None, factor) for factor in factors]
    found: np.ndarray = array[tuple(starts)][: counts[0], : counts[1], : counts[2]]
    return found


def _channel(image: Image, place: int, name: str, factors: Voxels) -> VolumeChannel:
    array = image.array[place]
    sample = regular(array.reshape(-1), MEASURED)
    sample = sample[np.isfinite(sample)]
    low, high, first, last = np.percentile(sample, [*ENDS, *SEEN_FIRST]).tolist() if sample.size else (0, 1, 0, 1)
    means = np.nan_to_num(smaller(turned(array, image.geometry), factors), nan=low)
    least, most = float(means.min()), float(means.max())
    near = BEYOND * (high - low)
    low, high = _apart(least if low - least <= near else low, most if most - high <= near else high)
    steps: tuple[tuple[int, float], ...] = ((0, low), (BYTE, high))
    windows: tuple[tuple[str, float, float], ...] = ()
    told = f"256 steps from {low:.4g} to {high:.4g}, {(high - low) / BYTE:.2g} apart"
    if (named_modality(name) or guess_modality(array)) == CT and last - first > LEAST_CT:
        steps, windows = CT_STEPS, CT_WINDOWS
        told = "256 steps from -1024 to 1500 HU, 3 HU apart from -200 to 300 and 15 to 36 HU beyond"
    codes, values = zip(*steps)
    data = np.diff(np.rint(np.interp(means, values, codes)).astype(np.uint8), axis=2, prepend=np.uint8(0))
    own = ("most of the image", *_window(first, last)), ("whole range", *_window(values[0], values[-1]))
    beyond = least < values[0], most > values[-1]
    return VolumeChannel(name, steps, beyond, told, (*windows, *own), _packed(data))


def _apart(low: float, high: float) -> tuple[float, float]:
    return (low, high) if high > low else (low, low + max(1.0, abs(low) / 1000))


def _window(low: float, high: float) -> tuple[float, float]:
    """Width and level, to a thousandth of the width: as many digits as people read."""
    low, high = _apart(low, high)
    digits = 3 - math.floor(math.log10(high - low))
    return round(high - low, digits), round((low + high) / 2, digits)


def _layer(name: str, numbers: np.ndarray, nothing: str | None) -> VolumeLayer:
    held = numbers.astype(np.uint8 if int(numbers.max()) <= BYTE else np.dtype("<u2"))
    return VolumeLayer(name, nothing is not None, nothing or "background", _packed(held))


def _packed(array: np.ndarray) -> str:
    return base64.b64encode(zlib.compress(np.ascontiguousarray(array).tobytes())).decode()


def _three(voxels: Iterable[int]) -> Voxels:
    z, y, x = voxels
    return z, y, x


def _rounded(lengths: Iterable[float]) -> tuple[float, float, float]:
    z, y, x = (float(f"{length:.4g}") for length in lengths)
    return z, y, x


def _shown(factors: Voxels, spacing: tuple[float, float, float], dimensions: int) -> str:
    """In the order x, y, z, as people say it."""
    along = [*zip(factors, spacing)][::-1][:dimensions]
    counts = " x ".join(str(factor) for factor, _ in along)
    lengths = " x ".join(f"{factor * length:.3g}" for factor, length in along)
    whole = max(factors) == 1
    what = "pixels" if dimensions == 2 else f"voxels ({lengths} mm{'' if whole else ORDER})"
    if whole:
        return f"Shown at {counts} {what}: all that the file holds."
    return (
        f"Shown at {counts} {what}: each is the mean of so many of the file, with the label of the one in the middle."
    )
