"""One reading of one case: its problems, its fingerprint, a sample of its foreground intensities, where labels lie."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..core.digests import content_hash
from ..core.geometry import Image, nonzero_box
from ..core.labels import Labels
from ..core.masks import MaskLabels
from ..core.seeds import generator
from ..data.dataset import Case, Dataset
from ..data.fingerprint import CaseFingerprint, ChannelFingerprint, is_colour, is_quantitative
from ..data.images import read_aligned
from ..data.label_maps import read_label_map
from ..errors import DatasetError, ImageFileError
from ..parts.readers import read_image
from .brightness import is_measured
from .channels import channel_fingerprint, same_channels
from .check import unfit, unreadable
from .fusion_quality import fusion_quality
from .moments import label_moments
from .problem import Problem
from .shifts import not_registered
from .statistics import other_grids, with_comparisons, with_regions

SAMPLES_IN_ALL = 20_000_000
"""Foreground voxels per channel over the whole dataset, shared equally by the cases: 80 MB. nnU-Net v2 takes 1e8."""
FEWEST_SAMPLES = 10_000
"""Per case, however many cases there are."""
COUNTED_VALUES = 1 << 16


@dataclass(frozen=True)
class Scan:
    """What one reading of a case found. Fingerprint, intensities and moments are None when there are errors."""

    problems: tuple[Problem, ...]
    fingerprint: CaseFingerprint | None = None
    intensities: np.ndarray | None = None
    """(channels, n) float32: foreground voxels, background and ignored ones left out; all of them when they are few.
    NaN for channels that the case lacks."""
    moments: np.ndarray | None = None
    """(labels, 10): where each label lies, see ``label_moments``."""


def scan_case(case: Case, dataset: Dataset) -> Scan:
    """Reads a case once. What is wrong with it is in the result, not raised.

    Headers come first: a file of a few megabytes may unpack to gigabytes of voxels that belong to no other file.
    """
    wrong = unfit(case, dataset)
    return Scan(tuple(wrong)) if wrong else scan_voxels(case, dataset)


def scan_voxels(case: Case, dataset: Dataset) -> Scan:
    """``scan_case`` where headers were compared already."""
    try:
        image, registrations = read_aligned(case, dataset.alignment)
        labels, _ = read_label_map(case.label_files, dataset.labels, image.geometry)
        content = content_hash(*case.files) + case.picked
        grids = other_grids(case, dataset.alignment, image.geometry)
    except (DatasetError, ImageFileError, OSError) as error:
        return Scan(tuple(_unreadable_files(case, dataset.labels)) or (_unreadable(case, error),))
    if labels.shape != image.geometry.shape:  # replaced meanwhile
        return Scan(tuple(unfit(case, dataset)))

    looked_into = is_measured(case.key, len(dataset.cases))
    channels = tuple(
        None
        if number in case.absent
        else channel_fingerprint(array, name, variation=looked_into and not is_quantitative(name))
        for number, (name, array) in enumerate(zip(dataset.channels, image.array))
    )
    problems = [*_voxel_problems(case, image, channels), *_label_problems(case, labels, dataset.labels)]
    if any(problem.severity == "error" for problem in problems):
        return Scan(tuple(problems))
    problems += [*same_channels(case, channels), *_empty_slices(case, image), *not_registered(case, registrations)]
    box = nonzero_box(image.array)
    inside = labels[box.slices]
    foreground = foreground_of(inside, dataset.labels)
    z, y, x = box.slices
    intensities = _sample(image.array[:, z, y, x], foreground, case.key, len(dataset.cases))
    intensities[[*case.absent]] = np.nan
    if looked_into:
        channels = with_regions(channels, image.array, labels, dataset.labels.values[0], intensities)
    compared = len(channels) - len(case.absent) > 1 and not all(map(is_colour, dataset.channels))
    try:
        if compared:
            channels = with_comparisons(channels, image, grids, case.reference(dataset.alignment))
        fingerprint = CaseFingerprint(
            shape=image.geometry.shape,
            spacing=image.geometry.spacing,
            cropped_shape=box.shape,
            cropped_fraction=float(np.prod(box.shape) / np.prod(image.geometry.shape)),
            content=content,
            left_right=image.geometry.left_right,
            orientation=image.geometry.orientation,
            channels=channels,
            registrations=registrations,
            fusion_quality=fusion_quality(image) if compared and looked_into else None,
        )
    except ValueError as error:
        return Scan((*problems, _unreadable(case, error)))
    moments = label_moments(inside, foreground, dataset.labels)
    return Scan(tuple(problems), fingerprint, intensities, moments)


def foreground_of(labels: np.ndarray, meaning: Labels) -> np.ndarray:
    """Where ``labels`` is neither background nor ignored: bool, same shape."""
    foreground: np.ndarray = labels != meaning.values[0]
    if meaning.ignore is not None:
        foreground &= labels != meaning.ignore
    return foreground


def _sample(array: np.ndarray, foreground: np.ndarray, key: str, cases: int) -> np.ndarray:
    """Values (channels, n) at foreground voxels; of more than a case's share, a seeded choice without repetition."""
    sample = np.stack([channel[foreground] for channel in array])
    share = max(FEWEST_SAMPLES, SAMPLES_IN_ALL // cases)
    if sample.shape[1] > share:
        sample = sample[:, np.sort(generator(0, "intensities", key).choice(sample.shape[1], share, replace=False))]
    return sample


def _voxel_problems(case: Case, image: Image, channels: Sequence[ChannelFingerprint | None]) -> list[Problem]:
    problems = []
    for channel, (array, found, source) in enumerate(zip(image.array, channels, case.images)):
        if found and source and not (math.isfinite(found.minimum) and math.isfinite(found.maximum)):
            finite = np.isfinite(array)
            name = Path(source.file).name
            count = int(array.size - np.count_nonzero(finite))
            what = f"{count} of {array.size} voxels of channel {channel} are NaN or infinite"
            problems.append(Problem(case.key, name, what, "Replace NaN and infinite voxels, for example by 0."))
    return problems


def _label_problems(case: Case, labels: np.ndarray, meaning: Labels) -> list[Problem]:
    name = next((file.name for file in case.label_files if file), "")
    values = _values_in(labels)
    known = {*meaning.values, *(() if meaning.ignore is None else (meaning.ignore,))}
    problems = []
    unknown = [value for value in values if value not in known]
    if unknown:
        listed = ", ".join(f"{value} ({np.count_nonzero(labels == value)} voxels)" for value in unknown[:10])
        what = f"{len(unknown)} unknown label values: {listed}{', ...' if len(unknown) > 10 else ''}"
        cure = f"Correct the label maps, or name these values in dataset.json; it knows {sorted(known)}."
        problems.append(Problem(case.key, name, what, cure))
    elif not set(values) & set(meaning.values[1:]):
        cure = "Fine if the structures are absent in these cases; otherwise the annotation is missing."
        problems.append(Problem(case.key, name, "holds no foreground at all", cure, severity="note"))
    elif meaning.values[0] not in values:
        cure = "Fine if the structures fill these images; otherwise background and foreground may be exchanged."
        problems.append(Problem(case.key, name, "holds no background at all", cure, severity="note"))
    return problems


def _values_in(labels: np.ndarray) -> list[int]:
    """Ascending, each once: of usual label maps counted, which takes a fifth of the time that comparing them would."""
    if labels.size and 0 <= labels.min() and labels.max() < COUNTED_VALUES:
        return np.flatnonzero(np.bincount(labels.reshape(-1).astype(np.intp, copy=False))).tolist()
    return np.unique(labels).tolist()


def _empty_slices(case: Case, image: Image) -> list[Problem]:
    """Slices of zeros between others, or where most are: so look images that were not wholly copied or converted."""
    problems = []
    for number, channel in enumerate(image.array):
        if number in case.absent:
            continue
        filled = np.flatnonzero(channel.reshape(len(channel), -1).any(axis=1))
        between = int(filled[-1] - filled[0]) + 1 - len(filled) if len(filled) else 0
        empty = len(channel) - len(filled)
        if len(filled) and (between or empty > len(channel) / 2):
            where = f", {between} of them between others" if between else ""
            what = f"{empty} of {len(channel)} slices of channel {number} hold only 0{where}"
            cure = "Fine where these slices were masked; otherwise export the image again, some of it was lost."
            problems.append(Problem(case.key, "", what, cure, severity="note"))
    return problems


def _unreadable_files(case: Case, meaning: Labels) -> list[Problem]:
    """Every file of the case that cannot be read by itself."""
    problems, alone = [], replace(meaning, absent_are_empty=True) if isinstance(meaning, MaskLabels) else meaning
    for path in case.files:
        by_itself = tuple(file if file == path else None for file in case.label_files)
        try:
            read_label_map(by_itself, alone) if any(by_itself) else read_image([path])
        except (DatasetError, ImageFileError, OSError) as error:
            problems.append(unreadable(case, path, error))
    return problems


def _unreadable(case: Case, error: Exception) -> Problem:
    """The file is the one with which the message starts."""
    path = next((path for path in case.files if str(error).startswith(f"{path}:")), case.files[0])
    return unreadable(case, path, error)
