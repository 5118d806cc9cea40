"""3-D TIFF, read and written with tifffile: pages are slices.

TIFF has no agreed place for the slice distance, so the spacing stands in a JSON file beside the image, named after the
case: ``CASE_0000.tif`` and ``CASE.tif`` both look into ``CASE.json``, ``{"spacing": [z, y, x]}`` in mm, as in nnU-Net.
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ...core.files import atomic_file
from ...core.geometry import Geometry
from ...errors import ImageFileError
from . import simpleitk
from ._grid import Header

ENDINGS = (".tif", ".tiff")


def is_volume(path: Path) -> bool:
    """Whether the file holds a stack of grey slices; otherwise it is one picture, a matter of ``natural_image``."""
    import tifffile

    with _open(path) as file:
        sizes = file.series[0].shape
        page = file.pages[0]
        assert isinstance(page, tifffile.TiffPage)
        return len(sizes) >= 3 and page.samplesperpixel == 1


def read_header(path: Path) -> Header:
    """Raises ImageFileError for a damaged file or one with more than three axes."""
    with _open(path) as file:
        return _header(file, path)


def read(path: Path) -> tuple[np.ndarray, Geometry]:
    """Voxels (1, z, y, x) in the file's own type, and their geometry. Raises ImageFileError."""
    with _open(path) as file:
        header = _header(file, path)
        try:
            array = file.asarray()
        except (OSError, IndexError, KeyError, ValueError, zlib.error) as error:
            if "imagecodecs" not in str(error):
                raise simpleitk.unreadable(path, error) from None
            array = simpleitk.read(path)[0]  # a compression for which tifffile needs a further package; ITK has most
    if array.size != np.prod(header.geometry.shape):
        raise simpleitk.unreadable(path, ValueError(f"{array.size} voxels, its header announces more"))
    return array.reshape(1, *header.geometry.shape), header.geometry


def write(array: np.ndarray, geometry: Geometry, path: Path) -> None:
    """Writes a label map (z, y, x) and its spacing file."""
    import tifffile

    with atomic_file(path) as temporary:
        tifffile.imwrite(temporary, array, compression="zlib", photometric="minisblack")
    with atomic_file(_sidecar(path, channel=False)) as temporary:
        temporary.write_text(json.dumps({"spacing": list(geometry.spacing)}) + "\n", encoding="utf-8")


def _open(path: Path) -> Any:
    import tifffile

    if not path.is_file():
        raise ImageFileError(f"{path}: there is no such file")
    try:
        file = tifffile.TiffFile(path)
    except (tifffile.TiffFileError, OSError, ValueError, struct.error) as error:
        raise simpleitk.unreadable(path, error) from None
    if not _complete(file):
        file.close()
        raise simpleitk.unreadable(path, ValueError("pages are missing at its end"))
    return file


def _complete(file: Any) -> bool:
    """Whether every page that the file announces starts inside it: tifffile leaves out missing ones, and only logs."""
    form, handle, seen = file.tiff, file.filehandle, set()
    position = 8 if form.offsetsize == 8 else 4  # where BigTIFF and classic TIFF keep the place of their first page
    while True:
        handle.seek(position)
        content = handle.read(form.offsetsize)
        if len(content) < form.offsetsize:
            return False
        (start,) = struct.unpack(form.offsetformat, content)
        if start == 0 or start in seen:
            return True
        seen.add(start)
        handle.seek(start)
        content = handle.read(form.tagnosize)
        if len(content) < form.tagnosize:
            return False
        position = start + form.tagnosize + struct.unpack(form.tagnoformat, content)[0] * form.tagsize


def _header(file: Any, path: Path) -> Header:
    shape = tuple(int(length) for length in file.series[0].shape)
    if len(shape) > 3:
        shape = tuple(length for length in shape if length > 1)
    if len(shape) != 3 or len(file.series) > 1:
        raise ImageFileError(f"{path}: has axes {shape} in {len(file.series)} series; expected one stack of slices")
    return Header(Geometry.plain((shape[0], shape[1], shape[2]), _spacing(path)), 1)


def _spacing(path: Path) -> tuple[float, float, float]:
    """From the spacing file, else 1 mm."""
    sidecar = _sidecar(path, channel=True)
    if not sidecar.is_file():
        sidecar = _sidecar(path, channel=False)
    if not sidecar.is_file():
        return (1.0, 1.0, 1.0)
    try:
        z, y, x = (float(value) for value in json.loads(sidecar.read_text(encoding="utf-8"))["spacing"])
    except (OSError, ValueError, KeyError, TypeError):
        raise ImageFileError(f'{sidecar}: expected {{"spacing": [z, y, x]}} with three lengths in mm') from None
    if not min(z, y, x) > 0:
        raise ImageFileError(f"{sidecar}: spacing must be positive, found {[z, y, x]}")
    return (z, y, x)


def _sidecar(path: Path, channel: bool) -> Path:
    stem = path.name[: -len(path.suffix)]
    return path.with_name((re.sub(r"_\d{4}$", "", stem) if channel else stem) + ".json")
