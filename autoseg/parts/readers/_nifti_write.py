"""NIfTI files written piece by piece, with the grid of a geometry or of another file's header."""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...core.files import atomic_file
from ...core.geometry import Geometry
from ...errors import ImageFileError
from . import simpleitk
from ._nifti_header import DATATYPES, GRID_FIELDS, MAGIC, NAMES, NIFTI_1, NO_EXTENSIONS, VECTOR

GRID = ("pixdim", *GRID_FIELDS)
WRITTEN_AT_ONCE = 1 << 24  # bytes
FASTEST = 1  # of gzip: probabilities are mostly 0 and 1, and what is not compresses badly at any level


def write_voxels(
    array: np.ndarray,
    geometry: Geometry,
    path: Path,
    scale: float = 1.0,
    level: int = FASTEST,
    like: np.void | None = None,
) -> None:
    """Writes (z, y, x) or (channels, z, y, x) in its own type, a few megabytes at a time: it may be mapped to memory.

    ``like`` is a header whose grid is taken over number for number; without it, the grid is written as SimpleITK
    writes that of ``geometry``. Voxels are multiplied by ``scale`` when they are read. Raises ImageFileError.
    """
    try:
        content = _header_of(geometry) if like is None else _header_like(like, _little(like), GRID)
        fields: Any = np.frombuffer(content, NIFTI_1 if like is None else _little(like), 1)
        axes = [geometry.dimensions, *array.shape[: -geometry.dimensions - 1 : -1]]
        if array.ndim == 4:
            axes = [4, *axes[1:], len(array)] if geometry.dimensions == 3 else [5, *axes[1:], 1, 1, len(array)]
            fields["intent"] = VECTOR if geometry.dimensions == 2 else 0
        fields["dim"][0] = [*axes, *[1] * (8 - len(axes))]
        fields["datatype"] = next(code for code, name in DATATYPES.items() if array.dtype == name)
        fields["bits"] = 8 * array.itemsize
        fields["slope"] = scale
        with atomic_file(path) as temporary, temporary.open("wb") as file:
            target = gzip.GzipFile("", "wb", level, file, mtime=0) if path.suffix.lower() == ".gz" else file
            target.write(content)
            slices = max(1, WRITTEN_AT_ONCE // array[..., 0, :, :].nbytes)
            for channel in array if array.ndim == 4 else [array]:
                for start in range(0, len(channel), slices):
                    piece = channel[start : start + slices]
                    target.write(np.ascontiguousarray(piece, piece.dtype.newbyteorder("<")).data)
            target.close()
    except OSError as error:
        raise ImageFileError(f"{path}: cannot be written ({error})") from None


def replace_grid(content: bytearray, like: np.void, path: Path) -> None:
    """Writes a whole file, ``content``, with the grid of ``like``, a header of the same version and byte order."""
    fields: Any = np.frombuffer(content, like.dtype, 1)
    for name in GRID_FIELDS:
        fields[name][0] = like[name]
    fields["pixdim"][0, :4] = like["pixdim"][:4]
    with atomic_file(path) as temporary:
        temporary.write_bytes(gzip.compress(content, mtime=0) if path.suffix.lower() == ".gz" else content)


def _little(like: np.void) -> np.dtype:
    return like.dtype.newbyteorder("<")


def write_without_texts(like: np.void, voxels: memoryview, path: Path) -> None:
    """Writes voxels as they are, behind a header that says of ``like`` what matters to them: all else, and all texts,
    are left out."""
    content = _header_like(like, like.dtype, NAMES)
    with atomic_file(path, durable=False) as temporary, temporary.open("wb") as file:
        target = gzip.GzipFile("", "wb", FASTEST, file, mtime=0) if path.suffix.lower() == ".gz" else file
        target.write(content)
        for start in range(0, len(voxels), WRITTEN_AT_ONCE):
            target.write(voxels[start : start + WRITTEN_AT_ONCE])
        target.close()


def _header_of(geometry: Geometry) -> bytearray:
    """The one that SimpleITK writes for two voxels at the same place."""
    with tempfile.TemporaryDirectory() as folder:
        simpleitk.write(np.zeros((2, 1, 1, 1), np.float32), replace(geometry, shape=(1, 1, 1)), Path(folder) / "a.nii")
        return bytearray((Path(folder) / "a.nii").read_bytes()[: NIFTI_1.itemsize + NO_EXTENSIONS])


def _header_like(like: np.void, form: np.dtype, names: Iterable[str]) -> bytearray:
    """Of the same version, in the byte order of ``form``, with these fields and nothing else of what ``like`` says."""
    size = like.dtype.itemsize
    content = bytearray(size + NO_EXTENSIONS)
    fields: Any = np.frombuffer(content, form, 1)
    for name in names:
        fields[name][0] = like[name]
    fields["size"], fields["magic"], fields["offset"] = size, MAGIC[size], size + NO_EXTENSIONS
    return content
