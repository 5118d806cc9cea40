"""The labels of a case, from its files and into them: one label map, a file per mask, or all masks in one file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..core.geometry import Geometry
from ..core.labels import Labels
from ..core.masks import MaskLabels
from ..core.names import short
from ..errors import DatasetError, ImageFileError
from ..parts.readers import ending_of, read_files, read_labels, unlike, write_channels, write_labels
from ..parts.readers.natural_image import ENDINGS as PICTURES
from .dataset import LabelFiles

INSIDE = (1, 255)  # values of a voxel that belongs to a mask: as it is counted, and as pictures show it


def file_names(key: str, ending: str, labels: Labels) -> tuple[str, ...]:
    """Names of the files that hold the labels of the case ``key``, as predictions are written."""
    if not isinstance(labels, MaskLabels) or labels.in_channels:
        return (f"{key}{ending}",)
    return tuple(f"{key}_{name}{ending}" for name in labels.masks)


def files_in(folder: Path, key: str, ending: str, labels: Labels) -> tuple[Path, ...]:
    """These files in ``folder``."""
    return tuple(folder / name for name in file_names(key, ending, labels))


def read_label_map(files: LabelFiles, labels: Labels, geometry: Geometry | None = None) -> tuple[np.ndarray, Geometry]:
    """The user's values (z, y, x), of masks their map (``core.masks``), and the grid on which they lie.

    ``geometry`` is the grid of a case that has no file of any mask. Raises ImageFileError for a file that cannot be
    read or is no mask, DatasetError for files on different grids and for a mask without a file.
    """
    if not isinstance(labels, MaskLabels):
        (path,) = files
        assert path is not None, "every case has a label map"
        return read_labels(path)
    there = [file for file in files if file is not None]
    if absent := [name for name, file in zip(labels.masks, files) if file is None and not labels.absent_are_empty]:
        raise DatasetError(f"the mask {short(absent[0])!r} has no file" + f" ({len(absent)} masks)" * (len(absent) > 1))
    if labels.in_channels:
        arrays, found = _channels(there[0], labels)
        return labels.joined(arrays, found.shape), found
    grid, masks = geometry, dict[Path, np.ndarray]()
    for file in there:
        array, found = read_labels(file)
        if masks and grid is not None and (wrong := unlike(grid, found)):
            raise DatasetError(f"{file}: not on the grid of {there[0]}: {'; '.join(wrong)}. Draw all masks on one grid")
        grid, masks[file] = found, _mask(array, str(file))
    if grid is None:
        raise DatasetError("no mask has a file, so their grid is not known")
    nothing = np.zeros(grid.shape, np.uint8)
    return labels.joined((nothing if file is None else masks[file] for file in files), grid.shape), grid


def write_label_map(
    array: np.ndarray, geometry: Geometry, files: tuple[Path, ...], labels: Labels, like: Path | None = None
) -> None:
    """Writes the user's values (z, y, x), of masks their map, to ``files``; masks hold 0 and 1, pictures 0 and 255.

    ``like`` as in ``write_labels``, which raises what is raised here, too.
    """
    if not isinstance(labels, MaskLabels):
        write_labels(array, geometry, files[0], like)
    elif labels.in_channels:
        write_channels(np.stack([*labels.split(array)]), geometry, files[0], like=like)
    else:
        for mask, path in zip(labels.split(array), files):
            as_seen = ending_of(path).lower() in PICTURES
            write_labels(mask * np.uint8(INSIDE[as_seen]), geometry, path, like)


def _channels(path: Path, labels: MaskLabels) -> tuple[Iterator[np.ndarray], Geometry]:
    (array,), geometry = read_files([path])
    if len(array) != len(labels.masks):
        raise ImageFileError(
            f"{path}: has {len(array)} channels, but there are {len(labels.masks)} masks: "
            f"{short(', '.join(labels.masks), 300)}; give one channel for each, in this order"
        )
    named = (f"{path}: channel {number} ({name})" for number, name in enumerate(labels.masks))
    return (_mask(channel, name) for channel, name in zip(array, named)), geometry


def _mask(array: np.ndarray, what: str) -> np.ndarray:
    """Raises ImageFileError, beginning with ``what``, for other values than 0 and one of ``INSIDE``."""
    values = np.unique(array).tolist()
    if any(set(values) <= {0, inside} for inside in INSIDE):
        return array
    found = short(", ".join(f"{value:g}" for value in values[:10]) + ", ..." * (len(values) > 10))
    raise ImageFileError(f"{what}: a mask holds 0 and 1, or 0 and 255, but this one holds {found}")
