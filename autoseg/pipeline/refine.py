"""A label map, or seeds of one, made better by a classical method: as an edit, of one image, without any training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core.evidence import MOST_LABELS, Evidence, Hints, tally
from ..core.geometry import bounding_slices
from ..core.names import short
from ..errors import DatasetError, UsageError
from ..parts.readers import read_image, read_labels, refuse_unwritable, unlike, write_labels
from .baseline import BASELINES, with_settings
from .baseline_view import View
from .replaced import refuse_existing

BORDER = 3.0  # times its standard deviation is as far as a border is looked for
DEEP = 0.998  # of a place whose distance from a flat border is ``reach``


def refine(
    images: Sequence[Path],
    label_map: Path,
    output: Path,
    *,
    name: str = "random_walker",
    background: int | None = None,
    reach: float = 3.0,
    changes: Sequence[str] = (),
    trusted: tuple[str, ...] = (),
) -> Path:
    """Writes ``output``, the label map after the method ``name``, on the same grid; returns it.

    How bright each label is says the label map itself. Without ``background`` borders move by up to about ``reach`` mm,
    and what lies deeper inside or outside stays. With it the label map holds seeds: voxels of the value ``background``
    are background, those of 0 are not decided, all others are what they say. Raises UsageError for a method that learns
    from other cases or does not take so many voxels, DatasetError, ImageFileError.
    """
    method = with_settings(BASELINES.load(name, trusted)(), changes)
    if method.largest is None:
        able = [each for each in BASELINES if BASELINES.load(each).largest is not None]
        raise UsageError(f"{name} learns from other cases which class is which label; choose one of {', '.join(able)}")
    refuse_existing(output)
    image = read_image(images)
    values, geometry = read_labels(label_map)
    if wrong := unlike(image.geometry, geometry):
        raise DatasetError(f"{label_map}: not on the grid of {images[0]}: {'; '.join(wrong)}")
    refuse_unwritable(output, geometry)
    names = [""] * len(image.array)
    view = View.of(image, range(len(names)), names)
    there = _values(values, background, label_map)
    turned = view.turned(values)
    numbers = np.searchsorted(np.sort(there), turned)
    numbers = np.argsort(there)[np.minimum(numbers, len(there) - 1)]
    known = turned != 0 if background is not None else np.ones(turned.shape, bool)
    box = _box(numbers > 0 if background is None else known, view, reach, background is not None)
    if known[box].size * len(there) > method.largest:
        size = " x ".join(str(along.stop - along.start) for along in box)
        raise UsageError(f"{name} does not take {size} voxels with {len(there)} labels at a time; cut the image out")
    hints = _hints(view, numbers, known, box, reach if background is None else None)
    part = view.given_to(method, range(len(names)), view.image[(slice(None),) + box])
    found = numbers.copy() if background is None else np.zeros_like(numbers)
    found[box] = method.candidates()[0].segment(part, view.spacing, hints)
    kept = known if background is not None else _deep(hints, found.shape, box)
    found[kept] = numbers[kept]  # whatever the method makes of them
    written = np.array([0 if value == background else value for value in there])
    write_labels(view.back(written[found]), geometry, output, label_map)
    return output


def _values(values: np.ndarray, background: int | None, path: Path) -> list[int]:
    """Of the labels, that of the background first."""
    first = 0 if background is None else background
    found = [value for value in np.unique(values).tolist() if value not in (0, first)]
    if not found or (background is not None and not (values == first).any()):
        raise DatasetError(f"{path}: holds no voxel of {'a label' if not found else f'the background, {first}'}")
    if len(found) >= MOST_LABELS:
        raise DatasetError(f"{path}: holds {len(found)} labels, {short(found)}, which are too many")
    return [first, *found]


def _box(mask: np.ndarray, view: View, reach: float, whole: bool) -> tuple[slice, ...]:
    """Around what may change."""
    found = bounding_slices(mask)
    if found is None or whole:
        return tuple(slice(0, size) for size in mask.shape)
    return tuple(
        slice(max(0, along.start - margin), min(size, along.stop + margin))
        for along, size, margin in zip(found, mask.shape, (math.ceil(2 * reach / edge) + 1 for edge in view.spacing))
    )


def _deep(hints: Hints, shape: Sequence[int], box: tuple[slice, ...]) -> np.ndarray:
    """Bool (*shape): what lies too far from all borders to change."""
    found = np.ones(shape, bool)
    found[box] = hints.places.max(0) > DEEP
    return found


def _hints(view: View, numbers: np.ndarray, known: np.ndarray, box: tuple[slice, ...], reach: float | None) -> Hints:
    """Of this image alone. ``reach`` None: what is ``known`` are seeds."""
    from scipy.ndimage import gaussian_filter

    unknown = int(numbers.max()) + 1
    learned = Evidence.of([tally(view.image, np.where(known, numbers, unknown), view.spacing, (), unknown)])
    part: Any = view.image[(slice(None),) + box]
    likelihoods = learned.hints(part, view.spacing, (), box, view.shape).likelihoods
    of_label = [numbers[box] == number for number in range(unknown)]
    if reach is not None:
        width = [reach / BORDER / edge for edge in view.spacing]
        places = np.stack([gaussian_filter(mask.astype(np.float32), width) for mask in of_label])
        return Hints(likelihoods, places, np.array([float(mask.sum()) for mask in of_label]))
    seeds = np.where(known[box], numbers[box] + 1, 0).astype(np.int32)
    places = np.stack([np.where(seeds == 0, 1 / unknown, mask).astype(np.float32) for mask in of_label])
    return Hints(likelihoods, places, np.ones(unknown), seeds)
