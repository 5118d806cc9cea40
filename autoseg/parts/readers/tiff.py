"""TIFF, read and written with tifffile: a picture or a stack of slices, in the numbers that are stored.

Which axis is what, the file says (ImageJ, OME) or its pages show: Z, and pages without further word, are slices; C and
samples are channels. Alpha is dropped, a palette resolved as in ``natural_image``. Values are never converted: a mask
stored with MINISWHITE stays as it is.

TIFF has no agreed place for the slice distance, so the spacing of a stack stands in a JSON file beside the image, named
after the case: ``CASE_0000.tif`` and ``CASE.tif`` both look into ``CASE.json``, ``{"spacing": [z, y, x]}`` in mm, as in
nnU-Net; what ImageJ or OME state is only told. A pixel of a picture is 1 x 1 mm.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...core.files import atomic_file
from ...core.geometry import Geometry
from ...errors import ImageFileError
from ._grid import Header
from ._guard import silence, unreadable
from ._orientation import swaps_axes, upright
from ._tiff_pages import PALETTE, channels_kept, colours_of, refuse_bombs, stored
from ._tiff_series import judge_descriptions, judge_series, pages_of
from ._tiff_spacing import not_taken, sidecar_of, spacing_of

ENDINGS = (".tif", ".tiff")
_SLICES = "ZIQ"  # tifffile's letters: z, pages in a row, not stated
_CHANNELS = "CS"  # channels, samples of a pixel
_ORIENTATION = 274


@dataclass(frozen=True)
class _Layout:
    """What the axes of the file's array mean."""

    header: Header
    order: tuple[int, ...]
    """Its axes longer than 1 in the order channels, z, y, x, as far as there are such."""
    samples: int
    """Length of the channel axis."""
    orientation: int


def read_header(path: Path) -> Header:
    """Raises ImageFileError for a damaged file or one whose axes mean something else."""
    with _opened(path) as file:
        header = _layout(file, path).header
        return header if header.geometry.dimensions == 2 else replace(header, note=not_taken(file, path))


def read(path: Path) -> tuple[np.ndarray, Geometry]:
    """Voxels (channels, z, y, x) in the file's own type, and their geometry. Raises ImageFileError."""
    return _read(path, labels=False)


def read_labels(path: Path) -> tuple[np.ndarray, Geometry]:
    """Like ``read``, but a palette of colours stands for its indices."""
    return _read(path, labels=True)


def write(array: np.ndarray, geometry: Geometry, path: Path) -> None:
    """Writes a label map (z, y, x) and its spacing file."""
    import tifffile

    with atomic_file(path) as temporary:
        tifffile.imwrite(temporary, array, compression="zlib", photometric="minisblack")
    with atomic_file(sidecar_of(path)) as temporary:
        temporary.write_text(json.dumps({"spacing": list(geometry.spacing)}) + "\n", encoding="utf-8")


def _read(path: Path, labels: bool) -> tuple[np.ndarray, Geometry]:
    with _opened(path) as file:
        layout, page = _layout(file, path), file.pages[0]
        refuse_bombs(file.series[0], path)
        array = stored(file, path)
        shape = layout.header.geometry.shape[1:]
        shape = shape[::-1] if swaps_axes(layout.orientation) else shape
        array = array.reshape([length for length in file.series[0].shape if length > 1])
        array = array.transpose(layout.order).reshape(layout.samples, layout.header.geometry.shape[0], *shape)
        if page.photometric == PALETTE:
            array = colours_of(array[0], page, labels)
        elif layout.samples > 1:
            array = array[channels_kept(page, array, path)]
        return upright(array, layout.orientation), layout.header.geometry


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import tifffile

    # _multifile: OME's description may name other files, which may lie anywhere
    with silence(), tifffile.TiffFile(path, _multifile=False) as file:
        pages = pages_of(file)
        if not pages:
            raise unreadable(path, ValueError("its pages end too early or never"))
        judge_descriptions(file, pages, path)
        if len(file.series) == 1:
            judge_series(file, pages, path)
        yield file


def _layout(file: Any, path: Path) -> _Layout:
    series, page = file.series[0], file.pages[0]
    if len(file.series) > 1:
        raise ImageFileError(f"{path}: holds {len(file.series)} pictures of different kinds or sizes; save one alone")
    long = [(letter, int(length)) for letter, length in zip(series.axes, series.shape) if length > 1]
    lengths = dict(long)
    slices, channels, planes = (
        [letter for letter in lengths if letter in known] for known in (_SLICES, _CHANNELS, "YX")
    )
    if len(slices) > 1 or len(channels) > 1 or len(slices + channels + planes) < len(long):
        raise ImageFileError(
            f"{path}: has axes {series.axes} of {tuple(series.shape)}; expected slices (Z) or channels (C) or both. "
            "Save it with slices as Z, one point in time per file"
        )
    sizes = {letter: int(length) for letter, length in zip(series.axes, series.shape)}
    samples, depth = lengths.get((channels or [""])[0], 1), lengths.get((slices or [""])[0], 1)
    orientation = int(page.tags.valueof(_ORIENTATION, 1))
    plane = (sizes["X"], sizes["Y"]) if swaps_axes(orientation) else (sizes["Y"], sizes["X"])
    if not any(letter in _SLICES for letter in series.axes):
        geometry = Geometry.plain_2d(plane)
    elif orientation in range(2, 9):
        raise ImageFileError(f"{path}: its slices are stored turned (orientation {orientation}); save them upright")
    else:
        geometry = Geometry.plain((depth, *plane), spacing_of(path))
    order = tuple(list(lengths).index(letter) for letter in [*channels, *slices, "Y", "X"] if letter in lengths)
    return _Layout(Header(geometry, _channels(page, samples, path)), order, samples, orientation)


def _channels(page: Any, samples: int, path: Path) -> int:
    if page.photometric == PALETTE:
        return len(colours_of(np.zeros((1, 1, 1), np.uint8), page, labels=False))
    return len(channels_kept(page, None, path)) if page.samplesperpixel > 1 else samples
