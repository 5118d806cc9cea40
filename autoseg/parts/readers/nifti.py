"""NIfTI-1 and NIfTI-2 (.nii, .nii.gz), the format most datasets come in.

Read here and not with SimpleITK because ITK reads a truncated file without a word and fills the rest with zeros,
refuses sheared axes and knows no NIfTI-2; besides, this is several times faster for the many small files of a typical
dataset. Where the header does not plainly state the grid (conflicting or absent transforms, units other than mm),
SimpleITK is asked, so that every file has the geometry that ITK gives it.

What stands behind the announced voxels is ignored, as in nibabel and ITK.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ...core.geometry import Geometry
from ...core.limits import DENSEST, refuse_larger
from . import _nifti_grid, simpleitk
from ._grid import Header
from ._guard import unreadable
from ._nifti_header import LONGEST, NO_EXTENSIONS, Layout, fields_of, impossible_offset, layout_of
from ._nifti_write import replace_grid, write_voxels, write_without_texts

ENDINGS = (".nii.gz", ".nii")
write = simpleitk.write

_GZIP_FORMAT = zlib.MAX_WBITS | 16  # for zlib: with header and checksum
_GZIP = b"\x1f\x8b"  # judged by this and not by the ending, which is often wrong about compression
_HEADER_PIECE = 4096  # bytes of a compressed file, to unpack the header
_PIECE = 1 << 18  # of a file
FEW_STREAMS, LEAST_STREAM = 1000, 1024  # beyond a few, gzip streams must hold so many bytes on average
_UNPACKED_PIECE = 1 << 24
TRAILING = 1 << 20  # bytes behind the voxels that are unpacked: with them the checksum is seen
COARSEST_STEP = 0.1  # of a scale that can still be meant to hold whole numbers


def read_header(path: Path) -> Header:
    """Raises ImageFileError when the file is not a NIfTI image that can be used."""
    return _opened(path)[2]


def read(path: Path) -> tuple[np.ndarray, Geometry]:
    """Voxels (channels, z, y, x) in the file's own type (float32 when the file scales them), and their geometry.

    Raises ImageFileError for a damaged or truncated file.
    """
    fields, layout, header = _opened(path)
    return _scaled(_voxels(path, fields, layout), *_scale(fields)), header.geometry


def read_labels(path: Path) -> tuple[np.ndarray, Geometry]:
    """Like ``read``, but whole numbers that a scale could hold only roughly are whole again.

    Programs that save every image as scaled 8 or 16 bits store 3 as the integer that comes closest to it, which gives
    3.0002 or so. The integer closest to a whole number stands for it.
    """
    fields, layout, header = _opened(path)
    array, (slope, intercept) = _voxels(path, fields, layout), _scale(fields)
    if array.dtype.kind not in "iu" or not abs(slope) <= COARSEST_STEP:
        return _scaled(array, slope, intercept), header.geometry
    exact = array * slope + intercept
    whole = np.rint(exact)
    return np.where(np.abs(exact - whole) <= abs(slope) / 2, whole, exact), header.geometry


def write_like(source: Path, array: np.ndarray, geometry: Geometry, path: Path, scale: float, level: int) -> bool:
    """Writes an array (see ``write_voxels``) with all that the header of ``source`` says about the grid: both
    transforms with their codes, units, voxel sizes.

    False, and nothing done, where ``source`` has another number of voxels.
    """
    fields, layout, _ = _opened(source)
    if (layout.shape, layout.dimensions) != (geometry.shape, geometry.dimensions):
        return False
    write_voxels(array, geometry, path, scale, level, like=fields)
    return True


def copy_without_texts(source: Path, target: Path) -> None:
    """Copies voxels byte for byte, and of the header what says how to read them and where they lie."""
    fields, layout, _ = _opened(source)
    write_without_texts(fields, _voxel_bytes(source, fields, layout), target)


def copy_grid(source: Path, target: Path) -> bool:
    """Puts the grid of ``source`` into the header of ``target``, whose voxels stay as they are, byte for byte.

    False, and nothing done, when the headers of these two files are not alike enough for that.
    """
    expected, (found, layout, _) = fields_of(_start(source)[0], source), _opened(target)
    if expected.dtype != found.dtype:
        return False
    content = bytearray(_content(target, _end(found, layout) + TRAILING))
    replace_grid(content, expected, target)
    return True


def _opened(path: Path) -> tuple[np.void, Layout, Header]:
    start, packed = _start(path)
    fields = fields_of(start, path)
    layout = layout_of(fields, path)
    size = path.stat().st_size
    refuse_larger(_end(fields, layout), path, held=size * DENSEST if packed else size)
    return fields, layout, Header(_nifti_grid.geometry(fields, layout, path), layout.channels * layout.colours)


def _end(fields: np.void, layout: Layout) -> int:
    """Bytes up to the last voxel."""
    return int((layout.offset or fields.dtype.itemsize + NO_EXTENSIONS) + layout.bytes)


def _scale(fields: np.void) -> tuple[float, float]:
    """Slope and intercept, (1, 0) where voxels mean what they are. An intercept that is not finite is 0 (as in ITK)."""
    slope, intercept = float(fields["slope"]), float(fields["intercept"])
    if not np.isfinite(slope) or slope == 0:
        return 1.0, 0.0
    return slope, intercept if np.isfinite(intercept) else 0.0


def _scaled(array: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    if (slope, intercept) == (1.0, 0.0):
        return array
    return array.astype(np.float32) * np.float32(slope) + np.float32(intercept)


def _voxels(path: Path, fields: np.void, layout: Layout) -> np.ndarray:
    """(channels, z, y, x) as stored, in this machine's byte order."""
    array = np.frombuffer(_voxel_bytes(path, fields, layout), layout.dtype)
    if layout.colours > 1:
        array = np.moveaxis(array.reshape(*layout.shape, layout.colours), -1, 0)
    else:
        array = array.reshape(layout.channels, *layout.shape)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _voxel_bytes(path: Path, fields: np.void, layout: Layout) -> memoryview:
    end = _end(fields, layout)
    content = _content(path, end + TRAILING)
    offset = end - layout.bytes
    if not layout.offset and len(content) == end - NO_EXTENSIONS:
        offset -= NO_EXTENSIONS  # a file that leaves them out
    elif len(content) < end:
        raise unreadable(path, ValueError(f"{len(content)} bytes of {end}"))
    elif layout.offset == fields.dtype.itemsize and len(content) > end:  # they are not left out, but voxels to it
        raise impossible_offset(layout.offset, path)
    return memoryview(content)[offset : offset + layout.bytes]


def _start(path: Path) -> tuple[bytes | bytearray, bool]:
    """The beginning of the content, enough for any header, and whether the file is compressed."""
    with path.open("rb") as file:
        start = file.read(_HEADER_PIECE)
    if start[:2] != _GZIP:
        return start, False
    unpacked = zlib.decompressobj(_GZIP_FORMAT).decompress(start, LONGEST)
    return unpacked if len(unpacked) == LONGEST else _content(path, LONGEST), True


def _content(path: Path, most: int) -> bytes | bytearray:
    """The first ``most`` bytes, uncompressed."""
    with path.open("rb") as file:
        packed = file.read(len(_GZIP)) == _GZIP
        file.seek(0)
        size = os.fstat(file.fileno()).st_size  # a larger buffer costs small files more than reading them
        return _unpacked(file, most, min(_PIECE, size)) if packed else file.read(min(most, size))


def _unpacked(file: BinaryIO, most: int, at_once: int) -> bytearray:
    """The first ``most`` bytes of all gzip streams that follow each other; what stands behind the last is ignored.

    By hand, since gzip's own reader is slower and refuses what stands behind. Raises zlib.error, EOFError, ValueError.
    """
    content, piece, streams = bytearray(), file.read(at_once), 0
    while piece.startswith(_GZIP) and len(content) < most:
        unpacker, streams = zlib.decompressobj(_GZIP_FORMAT), streams + 1
        if streams > FEW_STREAMS + len(content) // LEAST_STREAM:
            raise ValueError("compressed in too many streams")
        while not unpacker.eof and len(content) < most:
            piece = piece or file.read(at_once)
            made = unpacker.decompress(piece, min(most - len(content), _UNPACKED_PIECE))
            if not (made or piece or unpacker.eof):
                raise EOFError("the compressed stream has no end")
            content += made
            piece = unpacker.unconsumed_tail
        piece = unpacker.unused_data.lstrip(b"\0")
        if len(piece) < len(_GZIP):
            piece = (piece + file.read(at_once)).lstrip(b"\0")
    return content
