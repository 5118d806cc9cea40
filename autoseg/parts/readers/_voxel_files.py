"""Where the voxels of NRRD, MetaImage and GIPL files lie, and how many there can be: asked before ITK opens them.

Headers of NRRD and MetaImage may name other files. One beside the header is fine, everything else is refused: a
stranger's header could make any file of this machine an image.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...core.limits import DENSEST
from ...core.names import short
from ...errors import ImageFileError
from ._guard import present, unreadable

LONGEST_HEADER = 1 << 20  # bytes
GIPL_HEADER = 256
LONGEST_LINE = 400  # bytes, of MetaImage: ITK reads 500 of a line and takes the rest for the next one
_LAST = "ElementDataFile"
_LOCAL = "local"
_AXES = ("2", "3", "4", "5")
_LENGTHS = {
    "DimSize": 1, "Offset": 1, "Position": 1, "Origin": 1, "CenterOfRotation": 1, "ElementSpacing": 1,
    "ElementSize": 1, "SequenceID": 1, "Orientation": 2, "Rotation": 2, "TransformMatrix": 2,
}  # fmt: skip
"""Fields of MetaImage: how many numbers they have, as powers of the number of axes."""
MOST_CHANNELS = 10_000
_TEXT = ("ascii", "text", "txt", "hex")


@dataclass(frozen=True)
class Stream:
    """Voxels packed with zlib."""

    path: Path
    start: int
    size: int
    swapped: bool
    """Whether the higher bytes come first."""

    def unpacked(self, dtype: np.dtype, count: int) -> np.ndarray:
        """``count`` values, of one axis. Raises zlib.error and ValueError."""
        with self.path.open("rb") as file:
            file.seek(self.start)
            unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)  # with the header of zlib or of gzip
            content = unpacker.decompress(file.read(self.size), count * dtype.itemsize)
            unpacker.decompress(unpacker.unconsumed_tail, 1)  # to the end, where the checksum is
        if not unpacker.eof:
            raise ValueError(f"{len(content)} bytes of voxels, its header announces {count * dtype.itemsize}")
        array = np.frombuffer(content, dtype.newbyteorder(">" if self.swapped else "<"), count)
        return array.astype(dtype, copy=False)


@dataclass(frozen=True)
class Voxels:
    """What holds them."""

    most: int
    """Bytes of voxels that it can hold."""
    packed: bool = False
    """Whether ``most`` is a bound and not what there is."""
    stream: Stream | None = None
    """Where a MetaImage has packed them: ITK never ends with a damaged one, so they are unpacked here."""


def voxels_of(path: Path) -> Voxels:
    """Raises ImageFileError for a header that names files elsewhere, or none at all."""
    ending = path.suffix.lower()
    if ending == ".gipl":
        return Voxels(path.stat().st_size - GIPL_HEADER)
    with path.open("rb") as file:
        start = file.read(LONGEST_HEADER)
    return _of_nrrd(path, start) if ending == ".nrrd" else _of_meta_image(path, start)


def _of_meta_image(path: Path, start: bytes) -> Voxels:
    """Keys and values: itk.org/Wiki/ITK/MetaIO/Documentation. Voxels follow the line ``ElementDataFile = LOCAL``."""
    fields: dict[str, str] = {}
    at = 0
    for line in _lines(start):
        at += len(line)
        key, value = (part.strip() for part in re.split("[=:]", line.decode("latin-1").strip() + "=", maxsplit=1))
        if len(line) > LONGEST_LINE or key in fields or (key.casefold() == _LAST.casefold() and key != _LAST):
            raise unreadable(path, ValueError(f"its header says {short(key)!r} twice, differently or at great length"))
        if key.casefold() != "comment":
            fields[key] = value.removesuffix("=").strip()
        if key == _LAST:
            break
    else:
        raise unreadable(path, ValueError(f"its header has no {_LAST}"))
    _refuse_odd_counts(fields, path)
    name = fields[_LAST]
    there, at = (path, at) if name.casefold() == _LOCAL else (_beside(path, name), 0)
    header = fields.get("HeaderSize", "0")
    if not re.fullmatch("-1|[0-9]{1,15}", header) or (there == path and header not in ("0", "-1")):
        raise unreadable(path, ValueError(f"another header of {short(header)} bytes before its voxels"))
    size = there.stat().st_size - max(at, int(header))  # -1: voxels are the end of the file
    if not _is_true(fields.get("CompressedData", "false")):
        text = not _is_true(fields.get("BinaryData", "true"))
        return Voxels(8 * size, packed=True) if text else Voxels(size)
    stated = fields.get("CompressedDataSize", "0")
    if not stated.isdecimal() or len(stated) > 15 or int(stated) > size:
        raise unreadable(path, ValueError(f"{size} bytes of voxels, its header announces {short(stated)}"))
    if header != "0":
        raise unreadable(path, ValueError("compressed voxels behind another header"))
    swapped = _is_true(fields.get("BinaryDataByteOrderMSB", fields.get("ElementByteOrderMSB", "false")))
    stream = Stream(there, at, int(stated) or size, swapped)
    return Voxels(size * DENSEST, packed=True, stream=stream)


def _refuse_odd_counts(fields: dict[str, str], path: Path) -> None:
    """ITK believes the number of axes and of channels, and what it then reads beyond its own arrays may end it."""
    axes = fields.get("NDims", "")
    if axes not in _AXES or not 1 <= _number(fields.get("ElementNumberOfChannels", "1")) <= MOST_CHANNELS:
        raise unreadable(path, ValueError(f"{short(axes)} axes, or a number of channels that cannot be"))
    for key, power in _LENGTHS.items():
        if key in fields and len(fields[key].split()) != int(axes) ** power:
            raise unreadable(path, ValueError(f"{key} = {short(fields[key])} of {axes} axes"))


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 10 else 0


def _of_nrrd(path: Path, start: bytes) -> Voxels:
    """Fields: teem.sourceforge.net/nrrd/format.html. Voxels follow the first empty line."""
    fields: dict[str, str] = {}
    at, size = 0, 0
    if not start.startswith(b"NRRD"):
        raise unreadable(path, ValueError("it does not begin like an NRRD file"))
    for line in _lines(start):
        at += len(line)
        if not line.strip():
            size = path.stat().st_size - at
            break
        key, colon, value = line.decode("latin-1").partition(":")
        if colon and not value.startswith("="):  # := are the user's own
            fields.setdefault(key.strip().casefold().replace(" ", ""), value.strip())
            if key.strip().casefold().replace(" ", "") == "datafile":
                size = _beside(path, value.strip()).stat().st_size
    encoding, skip = fields.get("encoding", "raw").casefold(), fields.get("byteskip", "0")
    if encoding == "raw":
        return Voxels(size)
    if skip.startswith("-"):
        raise unreadable(path, ValueError("compressed voxels at the end of a file"))
    return Voxels(size * (8 if encoding in _TEXT else DENSEST), packed=True)


def _lines(start: bytes) -> Iterator[bytes]:
    """With their ends. A lone carriage return ends a line for some readers and not for others: it is refused."""
    at = 0
    while at < len(start):
        end = start.find(b"\n", at) + 1 or len(start)
        line = start[at:end]
        if b"\r" in line.removesuffix(b"\n").removesuffix(b"\r"):
            raise ValueError("a line of its header ends in an odd way")
        yield line
        at = end


def _is_true(value: str) -> bool:
    return value.startswith(("T", "t", "1"))


def _beside(path: Path, name: str) -> Path:
    """The file with the voxels, in the header's folder."""
    if name.startswith("LIST") or "%" in name:
        raise ImageFileError(f"{path}: its voxels lie in several files ({short(name)}); save it as one, say .nii.gz")
    if not name or Path(name).name != name or "\\" in name or name in (".", ".."):
        raise ImageFileError(
            f"{path}: its header says that the voxels lie in {short(name)!r}; only a file beside it is read. "
            "Save it as one file, say .nii.gz"
        )
    there = path.with_name(name)
    try:
        present(there)
    except ImageFileError as error:
        raise ImageFileError(f"{path}: the file with its voxels cannot be used: {error}") from None
    if there.samefile(path):
        raise ImageFileError(f"{path}: its header names the file itself as that with its voxels; export it again")
    return there
