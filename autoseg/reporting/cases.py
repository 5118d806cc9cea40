"""Cases as they are drawn, and the sizes of what a label map holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np

from ..core.extent import CUBIC_MM_PER_ML
from ..core.geometry import SLICE_SPACING_2D, Image
from ..core.labels import Labels
from ..core.parallel import ordered_map
from ..core.progress import progress
from ..data.dataset import Case, LabelFiles
from ..data.fingerprint import CaseFingerprint
from ..data.images import read_case
from ..data.label_maps import read_label_map
from ..errors import AutosegError
from .blocks import Block, CasePicture, Pictures
from .pictures import ERRORS, colours_of, drawing_of, how_seen, legend, picture, shown_channel
from .room import fitting
from .source import Source
from .volumes import pack

COUNTED_AT_ONCE = 1 << 22  # voxels
PIXELS = "pixels"
MOST_COUNTED = 1 << 16  # values from 0 on, each of which has a counter


class Shown(NamedTuple):
    """A case to be drawn."""

    case: Case
    told: str
    prediction: LabelFiles | None = None
    at_errors: bool = False


def voxel_size(spacing: Sequence[float]) -> float:
    """In the unit of ``unit_of``."""
    if is_flat(spacing):
        return spacing[1] * spacing[2]
    return math.prod(spacing) / CUBIC_MM_PER_ML


def is_flat(spacing: Sequence[float]) -> bool:
    return math.isclose(spacing[0], SLICE_SPACING_2D * max(spacing[1:]), rel_tol=1e-5)


def unit_of(spacing: Sequence[float]) -> str:
    """ml; of one slice mm2, and pixels where they have no length, as in pictures."""
    if not is_flat(spacing):
        return "ml"
    return PIXELS if spacing[1] == spacing[2] == 1 else "mm\N{SUPERSCRIPT TWO}"


def unit(cases: Sequence[CaseFingerprint]) -> str:
    """Of all cases."""
    return unit_of(cases[0].spacing) if cases else "ml"


def counts(label_map: np.ndarray, labels: Labels) -> dict[str, int]:
    """Voxels of every label; those of several count for each."""
    low, high = int(label_map.min()), int(label_map.max())
    if low < 0 or high >= MOST_COUNTED:
        values, found = np.unique(label_map, return_counts=True)
        held = dict(zip(values.tolist(), found.tolist()))
    else:
        total, flat = np.zeros(high + 1, np.int64), label_map.reshape(-1)
        for start in range(0, flat.size, COUNTED_AT_ONCE):
            total += np.bincount(flat[start : start + COUNTED_AT_ONCE], minlength=high + 1)
        held = dict(enumerate(total.tolist()))
    return {name: sum(held.get(value, 0) for value in values) for name, values in labels.foreground.items()}


def pictures(source: Source, title: str, chosen: Sequence[Shown], note: str) -> list[Block]:
    """Those cases that can be drawn and for which there is room, and a notice of the others."""
    if not source.pictures or not chosen:
        return []
    draw: Callable[[Shown], CasePicture | str] = partial(_draw, source=source)
    results = progress(ordered_map(draw, chosen, 1, 0), len(chosen), "drawing cases")
    drawn, notices = fitting(results, source)
    if not drawn:
        return notices
    told = f"{note}{how_seen(source.dataset.labels)}"
    marked = ERRORS if any(shown.prediction is not None for shown in chosen) else ()
    return [Pictures(title, tuple(drawn), legend(source.dataset.labels), marked, told), *notices]


def _draw(shown: Shown, source: Source) -> CasePicture | str:
    case, labels = shown.case, source.dataset.labels
    try:
        image = read_case(case, source.dataset.alignment)
        reference, _ = read_label_map(case.label_files, labels, image.geometry)
        prediction = None if shown.prediction is None else read_label_map(shown.prediction, labels)[0]
        drawing = drawing_of(image, reference, prediction, labels, colours=colours_of(source.dataset.channels))
        told = f"{shown.told}{_channel(source, image)}"
        drawn = picture(case.key, told, drawing, labels, at_errors=shown.at_errors)
        most = source.room_of_one_volume()
        channels = source.dataset.channels
        return replace(drawn, volume=pack(case.key, image, drawing, channels, most=most, at_errors=shown.at_errors))
    except (AutosegError, OSError) as error:
        return f"case {case.key}: {source.told(error)}"


def _channel(source: Source, image: Image) -> str:
    """Which channel is seen, where there are several."""
    channels = source.dataset.channels
    shown = colours_of(channels) or (shown_channel(image),)
    return f"; the image is {', '.join(channels[number] for number in shown)}" if len(channels) > len(shown) else ""
