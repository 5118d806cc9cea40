"""NIfTI-1 (.nii, .nii.gz), the format most datasets come in.

Read here and not with SimpleITK because ITK reads a truncated file without a word and fills the rest with zeros, and
refuses sheared axes; besides, this is several times faster for the many small files of a typical dataset. Whatever
is not plainly stated in the header (other pixel types, conflicting or absent transforms, units other than mm, NIfTI-2)
is left to SimpleITK, so that every file has the geometry that ITK gives it. Writing is SimpleITK's.

Header fields and the quaternion formula: nifti1.h, nifti.nimh.nih.gov.
"""

from __future__ import annotations

import gzip
import tempfile
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...core.files import atomic_file
from ...core.geometry import SLICE_SPACING_2D, Geometry
from ...errors import ImageFileError
from . import simpleitk
from ._grid import Header, orthonormal

ENDINGS = (".nii.gz", ".nii")
write = simpleitk.write

HEADER_BYTES = 348
NO_EXTENSIONS = 4  # zeros after it say that voxels follow
WRITTEN_AT_ONCE = 1 << 24  # bytes
FASTEST = 1  # of gzip: probabilities are mostly 0 and 1, and what is not compresses badly at any level
_ENOUGH_BYTES = 4096  # of a compressed file, to unpack the header
_GZIP = b"\x1f\x8b"  # judged by this and not by the ending, which is often wrong about compression
_FIELDS = np.dtype(
    {
        "names": [
            "size", "dim", "datatype", "bits", "pixdim", "offset", "slope", "intercept", "units",
            "qform", "sform", "quaternion", "qoffset", "srow", "magic",
        ],
        "formats": [
            "i4", "8i2", "i2", "i2", "8f4", "f4", "f4", "f4", "u1",
            "i2", "i2", "3f4", "3f4", "(3,4)f4", "S4",
        ],
        "offsets": [0, 40, 70, 72, 76, 108, 112, 116, 123, 252, 254, 256, 268, 280, 344],
        "itemsize": HEADER_BYTES,
    }
)  # fmt: skip
_GRID_FIELDS = ("units", "qform", "sform", "quaternion", "qoffset", "srow")
_DATATYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
_SPATIAL_UNITS = 7  # the lowest three bits of xyzt_units; 0 = not stated, 2 = mm
_AGREE = 1e-4  # voxels: two transforms in one header that differ by less are the same transform
_TO_LPS = np.array([-1.0, -1.0, 1.0])  # NIfTI's x and y point the other way than ITK's


def read_header(path: Path) -> Header:
    """Raises ImageFileError when the file is not a NIfTI image that can be used."""
    fields = _fields(path)
    return simpleitk.read_header(path) if fields is None else _header(fields, path)


def read(path: Path) -> tuple[np.ndarray, Geometry]:
    """Voxels (channels, z, y, x) in the file's own type (float32 when the file scales them), and their geometry.

    Raises ImageFileError for a damaged or truncated file.
    """
    fields = _fields(path)
    if fields is None:
        return simpleitk.read(path)
    header = _header(fields, path)
    content = _content(path)
    dtype = np.dtype(_DATATYPES[int(fields["datatype"])]).newbyteorder(fields.dtype["size"].byteorder)
    count, offset = header.channels * int(np.prod(header.geometry.shape)), int(fields["offset"])
    expected = offset + count * dtype.itemsize
    if len(content) < expected:
        raise simpleitk.unreadable(path, ValueError(f"{len(content)} bytes of {expected}"))
    array = np.frombuffer(content, dtype, count, offset).reshape(header.channels, *header.geometry.shape)
    slope, intercept = float(fields["slope"]), float(fields["intercept"])
    if np.isfinite([slope, intercept]).all() and slope != 0 and (slope, intercept) != (1.0, 0.0):
        array = array.astype(np.float32) * np.float32(slope) + np.float32(intercept)
    return array.astype(array.dtype.newbyteorder("="), copy=False), header.geometry


def write_channels(array: np.ndarray, geometry: Geometry, path: Path, scale: float = 1.0) -> None:
    """Writes (channels, z, y, x) in its own type, a few megabytes at a time: it may be a file mapped to memory.

    The header is one that SimpleITK writes for two voxels at the same place. Raises ImageFileError.
    """
    voxel = np.zeros((2, 1, 1, 1), np.float32)
    try:
        with tempfile.TemporaryDirectory() as folder:
            simpleitk.write(voxel, replace(geometry, shape=(1, 1, 1)), Path(folder) / "header.nii")
            content = bytearray((Path(folder) / "header.nii").read_bytes()[: HEADER_BYTES + NO_EXTENSIONS])
        fields = np.frombuffer(content, _FIELDS, 1)
        fields["dim"][0, 1:4] = array.shape[:0:-1]
        fields["dim"][0, 4 if geometry.dimensions == 3 else 5] = len(array)
        fields["datatype"] = next(code for code, name in _DATATYPES.items() if array.dtype == name)
        fields["bits"] = 8 * array.itemsize
        fields["slope"] = scale
        with atomic_file(path) as temporary, temporary.open("wb") as file:
            target = gzip.GzipFile("", "wb", FASTEST, file, mtime=0) if path.suffix == ".gz" else file
            target.write(content)
            slices = max(1, WRITTEN_AT_ONCE // array[0, 0].nbytes)
            for channel in array:
                for start in range(0, len(channel), slices):
                    target.write(np.ascontiguousarray(channel[start : start + slices]).data)
            target.close()
    except OSError as error:
        raise ImageFileError(f"{path}: cannot be written ({error})") from None


def copy_grid(source: Path, target: Path) -> bool:
    """Puts the grid of ``source`` into the header of ``target``, whose voxels stay as they are, byte for byte.

    False, and nothing done, when the headers of these two files are not alike enough for that.
    """
    expected, content = _fields(source), bytearray(_content(target))
    found = _fields(target)
    if expected is None or found is None or expected.dtype != found.dtype:
        return False
    view = np.frombuffer(content, found.dtype, 1)
    for name in _GRID_FIELDS:
        view[name][0] = expected[name]
    view["pixdim"][0, :4] = expected["pixdim"][:4]
    with atomic_file(target) as temporary:
        compressed = target.suffix == ".gz"
        temporary.write_bytes(gzip.compress(content, mtime=0) if compressed else content)
    return True


def _content(path: Path) -> bytes:
    """All bytes, uncompressed; unpacked at once, since gzip's file object is slower."""
    content = path.read_bytes()
    if content[:2] != _GZIP:
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise simpleitk.unreadable(path, error) from None


def _fields(path: Path) -> np.void | None:
    """The header in the file's byte order; None for a file that SimpleITK should judge."""
    if not path.is_file():
        raise ImageFileError(f"{path}: there is no such file")
    try:
        with path.open("rb") as file:
            start = file.read(_ENOUGH_BYTES)
        if start[:2] == _GZIP:
            start = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(start, HEADER_BYTES)
    except (OSError, zlib.error) as error:
        raise simpleitk.unreadable(path, error) from None
    if len(start) < HEADER_BYTES:
        raise simpleitk.unreadable(path, ValueError(f"{len(start)} bytes, a header has {HEADER_BYTES}"))
    for order in "<>":
        fields: np.void = np.frombuffer(start, _FIELDS.newbyteorder(order), 1)[0]  # type: ignore[arg-type]
        if fields["size"] == HEADER_BYTES:
            return fields if _plain(fields) else None
    return None


def _plain(fields: np.void) -> bool:
    """Whether the header leaves no choice in how to read the file."""
    dim = fields["dim"].tolist()
    return (
        fields["magic"].startswith(b"n+1")
        and int(fields["datatype"]) in _DATATYPES
        and int(fields["units"]) & _SPATIAL_UNITS in (0, 2)
        and 2 <= dim[0] <= 4
        and min(dim[1 : dim[0] + 1]) > 0
        and bool((fields["pixdim"][1 : 1 + min(dim[0], 3)] > 0).all())
        and _axes(fields) is not None
    )


def _axes(fields: np.void) -> tuple[np.ndarray, np.ndarray] | None:
    """Direction cosines (columns are the image axes) and origin, in NIfTI's world; None where the header is unclear."""
    spacing = fields["pixdim"][1:4].astype(float)
    spacing[spacing <= 0] = 1.0  # the third axis of a 2-D file
    if fields["sform"] > 0:
        matrix = fields["srow"][:, :3].astype(float)
        lengths = np.linalg.norm(matrix, axis=0)
        if np.abs(lengths - spacing).max() > _AGREE * spacing.min():
            return None
        direction, origin = matrix / lengths, fields["srow"][:, 3].astype(float)
        if fields["qform"] <= 0:
            return direction, origin
    if fields["qform"] <= 0:
        return None
    rotation, offset = _rotation(fields), fields["qoffset"].astype(float)
    if fields["sform"] > 0:
        apart = max(np.abs(rotation - direction).max(), np.abs((offset - origin) / spacing).max())
        if apart > _AGREE:
            return None
        return direction, origin  # the finer of the two: near half a turn a float32 quaternion is off by up to 1e-4
    return rotation, offset


def _rotation(fields: np.void) -> np.ndarray:
    """The rotation (3, 3) that the header's quaternion describes; a negative ``pixdim[0]`` mirrors the third axis."""
    b, c, d = fields["quaternion"].astype(float)
    square = 1.0 - b * b - c * c - d * d
    a = square**0.5 if square > 1e-7 else 0.0  # below that it is float32 noise of the others (as in ITK)
    a, b, c, d = np.array([a, b, c, d]) / np.linalg.norm([a, b, c, d])
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
        ]
    )
    if fields["pixdim"][0] < 0:
        rotation[:, 2] *= -1
    return rotation


def _header(fields: np.void, path: Path) -> Header:
    axes = _axes(fields)
    assert axes is not None, "_fields lets only plain headers through"
    dim, n = fields["dim"].tolist(), min(int(fields["dim"][0]), 3)
    direction = orthonormal((axes[0] * _TO_LPS[:, None])[:n, :n], str(path)) + 0.0  # + 0.0: no negative zeros
    origin = axes[1][:n] * _TO_LPS[:n] + 0.0
    x, y, z = fields["pixdim"][1:4].tolist()
    return Header(
        Geometry(
            shape=(dim[3] if n == 3 else 1, dim[2], dim[1]),
            spacing=(z if n == 3 else SLICE_SPACING_2D * max(x, y), y, x),
            origin=tuple(origin.tolist()),
            direction=tuple(direction.ravel().tolist()),
        ),
        channels=dim[4] if dim[0] == 4 else 1,
    )
