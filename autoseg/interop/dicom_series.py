"""Volumes from single slices in DICOM files. Positions decide, not file names or instance numbers.

Attributes and their meaning: DICOM PS3.3, C.7.6.2 (image plane) and C.7.3 (series). Its patient coordinates are LPS, as
ours.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.geometry import Geometry
from ..core.limits import DENSEST, refuse_larger
from ..errors import DatasetError, ImageFileError
from ..parts.readers import Header, refusals, write_voxels
from .dicom_damage import ends_early, meant_as_image

MAGIC_AT, MAGIC = 128, b"DICM"
TAGS = {
    "patient": "0010|0020",
    "study": "0020|000d",
    "series": "0020|000e",
    "description": "0008|103e",
    "number": "0020|0011",
    "modality": "0008|0060",
    "date": "0008|0020",
    "series_date": "0008|0021",
    "series_time": "0008|0031",
    "acquired": "0008|0032",
    "frames": "0028|0008",
    "slope": "0028|1053",
}
POSITION, ORIENTATION, PIXEL_SPACING = "0020|0032", "0020|0037", "0028|0030"
PIXELS = b"\xe0\x7f\x10\x00"  # their tag, little endian
UNDEFINED = 0xFFFFFFFF
SHORT = np.iinfo(np.int16)
TILT = 1e-3  # direction cosines that differ by less are rounded differently
UNEVEN = 0.01  # of the slice distance: how far two distances may differ
DRIFT = 0.1  # of a pixel: how far a slice may lie beside the line through the first


@dataclass(frozen=True)
class Slice:
    """The header of one file."""

    path: Path
    tags: dict[str, str]
    """By the names of ``TAGS``; empty where the file does not say."""
    position: tuple[float, ...]
    """Centre of the first pixel, mm, LPS; empty where the file has none."""
    orientation: tuple[float, ...]
    """Direction cosines of a row and of a column, six numbers."""
    spacing: tuple[float, ...]
    """Between rows and between columns, mm."""
    shape: tuple[int, int]
    """Rows and columns."""


@dataclass(frozen=True)
class Series:
    """The slices of one series, in any order."""

    slices: tuple[Slice, ...]

    @property
    def name(self) -> str:
        """What patterns are compared with: its description, or else its modality and number."""
        tags = self.slices[0].tags
        return tags["description"] or f"{tags['modality']} {tags['number']}".strip()

    def header(self) -> Header:
        return Header(self.geometry()[0], 1)

    @property
    def acquired(self) -> tuple[str, str]:
        """Date and time (HHMMSS.F) at which its first slice was taken; empty where no file says so."""
        tags = [item.tags for item in self.slices]
        return min((each["series_date"] or each["date"], each["series_time"] or each["acquired"]) for each in tags)

    def told(self) -> str:
        """What tells it from others of the same name: ``number 7, 2019-04-02 10:31, 24 slices of 256 x 256``."""
        first, (date, time) = self.slices[0], self.acquired
        day = f"{date[:4]}-{date[4:6]}-{date[6:8]}" if len(date) == 8 else date
        when = " ".join(filter(None, (day, f"{time[:2]}:{time[2:4]}" if len(time) >= 4 else "")))
        rows, columns = first.shape
        count = f"{len(self.slices)} slice{'s' * (len(self.slices) > 1)} of {columns} x {rows}"
        return ", ".join(filter(None, (f"number {first.tags['number'] or '?'}", when, count)))

    def called(self, wanted: Collection[str]) -> bool:
        """Whether its number or its UID is among those ``wanted``."""
        tags = self.slices[0].tags
        return not {tags["number"], tags["series"]}.isdisjoint(wanted)

    def geometry(self) -> tuple[Geometry, tuple[Slice, ...]]:
        """The grid, and the slices in its order. Raises DatasetError when they are no volume."""
        first = self.slices[0]
        for other in self.slices:
            self._refuse_mixture(first, other)
        rows, columns = np.array(first.orientation[:3]), np.array(first.orientation[3:])
        normal = np.cross(rows, columns)
        order, distance = stacked(
            np.array([item.position for item in self.slices]), normal, first.spacing, self._names()
        )
        ordered = tuple(self.slices[number] for number in order)
        direction = np.column_stack((rows, columns, normal))
        try:
            geometry = Geometry(
                shape=(len(ordered), *first.shape),
                spacing=(distance, first.spacing[0], first.spacing[1]),
                origin=ordered[0].position,
                direction=tuple(direction.ravel().tolist()),
            )
        except ValueError as error:
            raise DatasetError(f"{first.path} and the rest of its series: {error}") from None
        return geometry, ordered

    def write(self, targets: Sequence[Path]) -> None:
        """The voxels in the unit of the files (Hounsfield units, say); 16 bits where these suffice."""
        geometry, ordered = self.geometry()
        refuse_larger(math.prod(geometry.shape) * np.dtype(np.float64).itemsize, ordered[0].path)
        voxels = np.stack([_pixels(item) for item in ordered])
        if voxels.dtype.kind in "iu" and voxels.min() >= SHORT.min and voxels.max() <= SHORT.max:
            voxels = voxels.astype(np.int16)
        write_voxels(voxels, geometry, targets[0])

    def _names(self) -> list[str]:
        return ["/".join(item.path.parts[-2:]) for item in self.slices]

    def _refuse_mixture(self, first: Slice, other: Slice) -> None:
        if other.tags["frames"] not in ("", "1"):
            raise DatasetError(f"{other.path} holds several frames in one file, which is not supported; use dcm2niix")
        if other.tags["slope"] and not any(_numbers(other.tags["slope"])):
            raise DatasetError(f"{other.path} scales all its values to one (a RescaleSlope of 0); export it again")
        if len(other.position) != 3 or len(other.orientation) != 6 or len(other.spacing) != 2:
            raise DatasetError(f"{other.path} does not say where its slice lies; it is no cross-sectional image")
        axes = np.reshape(other.orientation, (2, 3))
        if np.abs(axes @ axes.T - np.eye(2)).max() > UNEVEN or not min(other.spacing) > 0:
            raise DatasetError(
                f"{other.path} has axes {other.orientation} and pixels of {other.spacing} mm, which cannot be"
            )
        if np.abs(np.subtract(first.orientation, other.orientation)).max() > TILT:
            raise DatasetError(
                f"{first.path} and {other.path.name}, in one series, are not parallel; sort its orientations apart"
            )
        if first.shape != other.shape or not np.allclose(first.spacing, other.spacing, rtol=UNEVEN):
            raise DatasetError(f"{first.path} and {other.path.name}, in one series, differ in size or pixels")


def stacked(
    positions: np.ndarray, normal: np.ndarray, pixel: Sequence[float], names: Sequence[str]
) -> tuple[list[int], float]:
    """The order of slices along ``normal`` and their distance in mm; ``positions`` is (n, 3) in mm.

    Raises DatasetError, with the ``names`` concerned, for a single slice, two at one place, a gap, and slices that do
    not lie straight above each other.
    """
    if len(positions) < 2:
        raise DatasetError(f"{names[0]} is a single slice; a volume needs at least two")
    along = positions @ normal
    order = np.argsort(along, kind="stable")
    steps = np.diff(along[order])
    usual = float(np.median(steps))
    twice = np.flatnonzero(steps <= UNEVEN * max(usual, float(steps.max())))
    if twice.size:
        first, second = (names[order[twice[0] + further]] for further in (0, 1))
        raise DatasetError(
            f"{len(twice)} slices lie where another one lies, {first} and {second} among them: several volumes in one "
            "series, or copies; sort them apart"
        )
    odd = np.flatnonzero(np.abs(steps - usual) > UNEVEN * usual)
    if odd.size:
        before, after = (names[order[odd[0] + further]] for further in (0, 1))
        raise DatasetError(
            f"there is a gap: {before} and {after} are {steps[odd[0]]:.4g} mm apart, the others {usual:.4g} mm; "
            "slices are missing or were taken at uneven distances"
        )
    offsets = positions - positions[order[0]]
    beside = offsets - np.outer(offsets @ normal, normal)
    if np.linalg.norm(beside, axis=1).max() > DRIFT * min(pixel):
        raise DatasetError(
            "the slices do not lie straight above each other (a tilted gantry); resample them to an upright grid first"
        )
    return order.tolist(), float((along[order[-1]] - along[order[0]]) / (len(positions) - 1))


def is_dicom(path: Path) -> bool:
    """Whether the file has DICOM's preamble."""
    try:
        if not path.is_file():  # a pipe would be waited for
            return False
        with path.open("rb") as file:
            return file.read(MAGIC_AT + len(MAGIC))[MAGIC_AT:] == MAGIC
    except OSError:
        return False


def read_slice(path: Path) -> Slice | None:
    """The header of a DICOM file; None when it holds no image (a report, say).

    Raises ImageFileError for one that is an image and cannot be read: without it a volume would lose a slice.
    """
    with refusals(path):
        content = path.read_bytes()
        reader = None if ends_early(content) else _reader(path)
        if reader is None and (PIXELS in content or meant_as_image(content)):
            raise ImageFileError(f"{path}: is an image but cannot be read; copy it again or take it away")
    if reader is None:
        return None
    keys = set(reader.GetMetaDataKeys())

    def said(tag: str) -> str:
        return str(reader.GetMetaData(tag)).strip() if tag in keys else ""

    columns, rows = reader.GetSize()[:2]
    return Slice(
        path,
        tags={name: said(tag) for name, tag in TAGS.items()},
        position=_numbers(said(POSITION)),
        orientation=_numbers(said(ORIENTATION)),
        spacing=_numbers(said(PIXEL_SPACING)),
        shape=(rows, columns),
    )


def by_study(slices: Iterable[Slice]) -> dict[str, list[Series]]:
    """Study to its series, both in the order of their numbers and names."""
    found: dict[str, dict[str, list[Slice]]] = defaultdict(lambda: defaultdict(list))
    for item in slices:
        found[item.tags["study"]][item.tags["series"]].append(item)
    return {
        study: sorted((Series(tuple(items)) for items in series.values()), key=lambda one: one.name)
        for study, series in sorted(found.items())
    }


def _numbers(text: str) -> tuple[float, ...]:
    """Empty where they are none, or not finite."""
    try:
        numbers = tuple(float(part) for part in text.split("\\")) if text else ()
    except ValueError:
        return ()
    return numbers if all(map(math.isfinite, numbers)) else ()


def _reader(path: Path) -> Any:
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    try:
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
    except (RuntimeError, UnicodeError):
        return None
    return reader


def _cut(content: bytes) -> bool:
    """Whether the file ends before the pixels that it announces: GDCM then makes them up."""
    at = content.find(PIXELS)
    while at >= 0:  # small pictures of an icon come first
        explicit = content[at + 4 : at + 6] in (b"OW", b"OB")
        start = at + (12 if explicit else 8)
        length = int.from_bytes(content[start - 4 : start], "little")
        if length == UNDEFINED:  # compressed: GDCM notices
            return False
        if start + length >= len(content):
            return start + length > len(content)
        at = content.find(PIXELS, start + length)
    return False


def _pixels(item: Slice) -> np.ndarray:
    """(rows, columns) with the file's slope and intercept applied."""
    import SimpleITK as sitk

    with refusals(item.path):
        refuse_larger(math.prod(item.shape), item.path, held=item.path.stat().st_size * DENSEST)
        if _cut(item.path.read_bytes()):
            raise ImageFileError(f"{item.path}: ends within its pixels; copy it again")
        array: np.ndarray = sitk.GetArrayFromImage(_reader(item.path).Execute()).reshape(item.shape)
    return array
