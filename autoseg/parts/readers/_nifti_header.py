"""The header of NIfTI-1 and NIfTI-2 in either byte order: what it says about voxels, and what is refused.

Fields: nifti1.h and nifti2.h, nifti.nimh.nih.gov. Where these leave something open, it is as ITK has it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import ImageFileError
from ._guard import unreadable

NAMES = [
    "size", "dim", "intent", "datatype", "bits", "pixdim", "offset", "slope", "intercept", "units",
    "qform", "sform", "quaternion", "qoffset", "srow", "magic",
]  # fmt: skip
NIFTI_1 = np.dtype(
    {
        "names": NAMES,
        "formats": [
            "i4", "8i2", "i2", "i2", "i2", "8f4", "f4", "f4", "f4", "u1",
            "i2", "i2", "3f4", "3f4", "(3,4)f4", "S4",
        ],
        "offsets": [0, 40, 68, 70, 72, 76, 108, 112, 116, 123, 252, 254, 256, 268, 280, 344],
        "itemsize": 348,
    }
)  # fmt: skip
NIFTI_2 = np.dtype(
    {
        "names": NAMES,
        "formats": [
            "i4", "8i8", "i4", "i2", "i2", "8f8", "i8", "f8", "f8", "i4",
            "i4", "i4", "3f8", "3f8", "(3,4)f8", "S8",
        ],
        "offsets": [0, 16, 504, 12, 14, 104, 168, 176, 184, 500, 344, 348, 352, 376, 400, 4],
        "itemsize": 540,
    }
)  # fmt: skip
ORDERS = tuple(form.newbyteorder(order) for form in (NIFTI_1, NIFTI_2) for order in "<>")  # type: ignore[arg-type]
MAGIC = {NIFTI_1.itemsize: b"n+1", NIFTI_2.itemsize: b"n+2\0\r\n\x1a\n"}
LONGEST = NIFTI_2.itemsize
NO_EXTENSIONS = 4  # zero bytes after the header say that voxels follow
GRID_FIELDS = ("units", "qform", "sform", "quaternion", "qoffset", "srow")
DATATYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
COLOURS = {128: 3, 2304: 4}  # RGB24 and RGBA32: 8 bits each, beside each other
_REFUSED = {
    1: "single bits", 32: "complex numbers", 1792: "complex numbers", 2048: "complex numbers",
    1536: "numbers of 128 bits",
}  # fmt: skip
VECTOR = 1007  # an intent: the fifth axis holds the values of a voxel
MATRICES = (1004, 1005, 1006)  # intents whose values turn with the axes


@dataclass(frozen=True)
class Layout:
    """How voxels lie in the file."""

    shape: tuple[int, int, int]
    """Voxels along (z, y, x)."""
    dimensions: int
    """2 or 3."""
    channels: int
    colours: int
    """Values of a voxel that lie beside each other; 1 unless it is a colour image."""
    dtype: np.dtype
    """With the file's byte order."""
    offset: int
    """Of the first voxel, bytes; 0 where the header does not say."""

    @property
    def count(self) -> int:
        return math.prod(self.shape) * self.channels * self.colours

    @property
    def bytes(self) -> int:
        return self.count * self.dtype.itemsize


def fields_of(start: bytes | bytearray, path: Path) -> np.void:
    """The header in the file's byte order; ``start`` is the beginning of the file. Raises ImageFileError."""
    if len(start) < NIFTI_1.itemsize:
        raise unreadable(path, ValueError(f"{len(start)} bytes, a header has {NIFTI_1.itemsize}"))
    for form in ORDERS:
        if len(start) >= form.itemsize:
            fields: np.void = np.frombuffer(start, form, 1)[0]
            if fields["size"] == form.itemsize:
                break
    else:  # nibabel and ITK do not insist on the size of the header
        for form in ORDERS[:2]:
            fields = np.frombuffer(start, form, 1)[0]
            if 1 <= fields["dim"][0] <= 7:
                break
    if fields["magic"][:3] not in (b"n+1", b"ni1", b"n+2", b"ni2"):
        raise unreadable(path, ValueError("it does not begin like a NIfTI file"))
    return fields


def layout_of(fields: np.void, path: Path) -> Layout:
    """Raises ImageFileError for what is no image of one to a few real numbers per voxel."""
    dim, code, intent = fields["dim"].tolist(), int(fields["datatype"]), int(fields["intent"])
    dimensions, channels = _axes(dim, intent, path)
    if code not in DATATYPES and code not in COLOURS:
        what = _REFUSED.get(code, f"an unknown type of numbers ({code})")
        raise ImageFileError(f"{path}: holds {what}, which cannot be read; save it with real numbers, say float32")
    if code in COLOURS and channels > 1:
        raise ImageFileError(f"{path}: has colours and {channels} channels; save one file per channel")
    return Layout(
        shape=(dim[3] if dimensions == 3 else 1, dim[2], dim[1]),
        dimensions=dimensions,
        channels=channels,
        colours=COLOURS.get(code, 1),
        dtype=np.dtype(DATATYPES.get(code, "u1")).newbyteorder(fields.dtype["size"].byteorder),
        offset=_offset(fields, path),
    )


def _axes(dim: list[int], intent: int, path: Path) -> tuple[int, int]:
    """Number of spatial axes, and of channels."""
    used = dim[1 : dim[0] + 1]
    further = [length or 1 for length in used[3:]]  # a 0 there means "not used", as in ITK
    beyond = [length for length in further if length != 1]
    if not 2 <= dim[0] <= 7 or min(used[:3]) < 1 or len(beyond) > 1 or min([*beyond, 1]) < 1:
        shown = f"{dim[0]} axes" if not 1 <= dim[0] <= 7 else f"axes {tuple(used)}"
        raise ImageFileError(
            f"{path}: has {shown}; expected a 2-D or 3-D image, with at most one further axis for the channels"
        )
    if dim[0] < 5 or intent not in (VECTOR, *MATRICES):
        return min(dim[0], 3), (beyond or [1])[0]
    if intent in MATRICES:
        raise ImageFileError(f"{path}: holds matrices or displacements, which are no intensities")
    return 3 if dim[3] > 1 or further[0] > 1 else 2, (beyond or [1])[0]


def _offset(fields: np.void, path: Path) -> int:
    offset, header = fields["offset"].item(), fields.dtype.itemsize
    cannot_be = not math.isfinite(offset) or offset < 0 or 0 < offset < header
    if cannot_be or header < int(offset) < header + NO_EXTENSIONS:
        raise impossible_offset(offset, path)
    return int(offset)


def impossible_offset(offset: float, path: Path) -> ImageFileError:
    """The error to raise where voxels would begin within what is none: read from there, they are other voxels."""
    return ImageFileError(
        f"{path}: its header says that voxels begin at byte {offset:g}, which cannot be; export it again"
    )
