"""images/ and labels/ only: channels from the files, labels from their values."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...core.labels import ExclusiveLabels, Labels
from ...core.machine import cores
from ...core.names import first_of, short
from ...core.parallel import ordered_map
from ...errors import DatasetError, ImageFileError
from ...parts.readers import ending_of, read_header, read_labels
from ..dataset import Case
from .folders import images_in, nothing_in
from .grouping import by_number, cases_of, channels_in, paired
from .names import NO_NAMES, Names

LOG = logging.getLogger("autoseg")
MOST_VALUES = 1000  # a file with more distinct values than this is an image, not a label map
LARGE = 1 << 24  # voxels of a label map, which is not unpacked in vain where its image has another shape
PICTURES = (".png", ".jpg", ".jpeg", ".bmp")


def folders_of(folder: Path) -> tuple[Path, Path] | None:
    """Where images and label maps lie in a folder; None where one of them is missing."""
    images = next((folder / name for name in ("images", "imagesTr") if (folder / name).is_dir()), None)
    labels = next((folder / name for name in ("labels", "labelsTr", "masks") if (folder / name).is_dir()), None)
    return None if images is None or labels is None else (images, labels)


def plain(folder: Path, names: Names = NO_NAMES) -> tuple[tuple[str, ...], Labels, list[Case]]:
    """Channels, labels and cases; ``names`` are those that somebody gave. Raises DatasetError."""
    found = folders_of(folder)
    if found is None:
        there = [short(path.name) for path in sorted(folder.iterdir()) if not path.name.startswith(".")][:10]
        raise DatasetError(
            f"{folder}: not a dataset. Expected dataset.json with imagesTr and labelsTr, or the folders images and "
            f"labels; found {', '.join(there) or 'nothing'}"
        )
    images, labels = found
    pairs = paired(images_in(images) or nothing_in(images), labels, endings=True)
    channels = _channels([files for _, files, _ in pairs])
    if names.channels:
        channels = names.of_channels(channels, folder)
    cases = cases_of((key, by_number(key, files, len(channels)), label) for key, files, label in pairs)
    return channels, _inferred_labels(cases, names, folder), cases


def _channels(cases: Sequence[Sequence[Path]]) -> tuple[str, ...]:
    """Those of a case that has as many files as most, and can be read."""
    usual = Counter(map(len, cases)).most_common(1)[0][0]
    count = usual
    for files in cases:
        if len(files) == usual:
            counts = [channels_in(path) for path in files]
            if None in counts:
                continue
            count = sum(each for each in counts if each)
            if count == 3 and usual == 1 and ending_of(files[0]).lower() in PICTURES:
                return ("R", "G", "B")
            break
    return tuple(f"channel_{number}" for number in range(count))


def _inferred_labels(cases: Sequence[Case], names: Names, folder: Path) -> Labels:
    """Every value of every label file that can be read; 0 is background, or else the smallest value.

    Files that cannot be read are left to the check, which names them with all that is wrong elsewhere.
    """
    read = list(ordered_map(_values, cases, cores()))
    images = [
        f"{case.label}: {len(values)} different values; is this an image and not a label map?"
        for case, values in zip(cases, read)
        if isinstance(values, np.ndarray) and len(values) > MOST_VALUES
    ]
    if images:
        raise DatasetError(first_of(images, 10))
    found = sorted({value for values in read if isinstance(values, np.ndarray) for value in values.tolist()})
    if not found:
        raise DatasetError("no label map can be read:\n" + first_of([str(error) for error in read], 5))
    background = 0 if 0 in found else found[0]
    named = {f"label_{value}": value for value in found if value != background}
    if not named:
        raise DatasetError(f"all label maps hold the value {background} only: there is nothing to learn")
    if names.labels:
        named = names.of_labels([*named.values()], folder)
        LOG.info("no dataset.json: %d is background, labels are %s", background, short(named, 500))
    else:
        LOG.info(
            "no dataset.json: taking %d as background and %s as labels; --labels NAME,NAME,... gives them names",
            background,
            short(list(named.values())),
        )
    return ExclusiveLabels({"background": background} | named)


def _values(case: Case) -> np.ndarray | ImageFileError:
    label = Path(str(case.label))
    try:
        shape = read_header(label).geometry.shape
        if math.prod(shape) > LARGE and shape != (expected := _shape_of_image(case) or shape):
            return ImageFileError(f"{label}: shape {shape}, but the image has {expected}")
        return np.unique(read_labels(label)[0])
    except ImageFileError as error:
        return error


def _shape_of_image(case: Case) -> tuple[int, int, int] | None:
    """None where that cannot be read."""
    try:
        return read_header(case.image_files[0]).geometry.shape
    except ImageFileError:
        return None
