"""From a label map to surfaces."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.extent import CUBIC_MM_PER_ML
from ..core.geometry import box_around
from ..core.names import path_name, short
from ..core.progress import progress
from ..errors import DatasetError, UsageError
from ..interop.surface_files import WRITERS
from ..interop.surfaces import Surface
from .named_labels import NamedMap
from .replaced import refuse_existing

LOG = logging.getLogger("autoseg")


@dataclass(frozen=True)
class Meshed:
    """A surface that was written."""

    path: Path
    label: str
    volume_ml: float
    """That it encloses."""
    triangles: int


def mesh(label_map: Path, output: Path, *, label: str | None = None, smooth: bool = False) -> list[Meshed]:
    """Writes the surface of ``label``, or of every label that occurs, each to a file of its own.

    ``output`` ends in .stl or .ply. With several labels their names come before that ending, ``p7_liver.stl``; one
    label, named or the only one there may be, is ``output`` itself. ``smooth`` takes away the steps of the voxels and
    keeps their volume. Coordinates are mm in LPS, as the header says. Raises UsageError for another ending, a label
    that there is not, and files that are there already; DatasetError for a label without a voxel and for 2-D label
    maps; ImageFileError.
    """
    write = WRITERS.get(output.suffix.lower())
    if write is None:
        raise UsageError(f"{output.name}: -o must end in {' or '.join(WRITERS)}")
    if label is not None:  # before anything is read
        refuse_existing(output)
    found = NamedMap.read(label_map)
    if found.geometry.dimensions == 2:
        raise DatasetError(f"{label_map}: is 2-D; only volumes have a surface")
    names = [*found.labels.foreground]
    if label is not None and label not in names:
        raise UsageError(f"there is no label {short(label)!r} in {label_map}; there are {short(', '.join(names), 500)}")
    boxes = _boxes(found, names if label is None else [label])
    if not boxes:
        raise DatasetError(f"{label_map}: no voxel belongs to {'any label' if label is None else label}")
    if absent := [name for name in names if label is None and name not in boxes]:
        LOG.info("%s: no voxel belongs to %s", label_map, short(", ".join(absent), 500))
    targets = {name: output if label or len(names) == 1 else _target(output, name) for name in boxes}
    for path in targets.values():
        refuse_existing(path)
    written: list[Meshed] = []
    try:
        for name, mask, start in progress(_masks(found, boxes), len(boxes), "making surfaces"):
            surface = Surface.of(mask, found.geometry, start)
            if smooth:
                surface = surface.smoothed(np.count_nonzero(mask) * math.prod(found.geometry.spacing))
            write(surface, name, targets[name])
            ml = surface.volume / CUBIC_MM_PER_ML
            written.append(Meshed(targets[name], name, ml, len(surface.triangles)))
    except BaseException:  # all or nothing: the same command again must not find its own files in the way
        for one in written:
            with suppress(OSError):
                one.path.unlink()
        raise
    return written


def _target(output: Path, name: str) -> Path:
    try:
        return output.with_name(path_name(f"{output.stem}_{name}{output.suffix}", "label"))
    except ValueError as error:
        raise UsageError(f"{error}; --label with its name writes it to -o alone") from None


def _boxes(found: NamedMap, names: Sequence[str]) -> dict[str, tuple[slice, ...]]:
    """Of the labels that occur, by one look at all voxels."""
    from scipy.ndimage import find_objects

    by_index = (None, *find_objects(found.indices))  # of background none
    boxes = {}
    for name in names:
        members = np.flatnonzero(found.of_label(name))
        inside = [by_index[index] for index in members if index < len(by_index) and by_index[index] is not None]
        if inside:
            boxes[name] = box_around(inside)
    return boxes


def _masks(found: NamedMap, boxes: dict[str, tuple[slice, ...]]) -> Iterator[tuple[str, np.ndarray, tuple[int, ...]]]:
    """Name, mask and first voxel of each, one after the other."""
    for name, box in boxes.items():
        values = found.labels.foreground[name]
        yield name, np.isin(found.array[box], values), tuple(along.start for along in box)
