"""What a converter finds in other people's folders, and how a found image becomes a file of a dataset.

A converter is a file in ``conversions/`` that defines ``CONVERSION`` with a ``description`` and
``find(source, wanted)``; where names of files tell everything, it is ``Patterns`` and no code.
"""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..core.files import atomic_file
from ..errors import DatasetError
from ..parts.readers import (
    Header,
    copy_without_texts,
    ending_of,
    read_header,
    read_labels,
    split_channels,
    write_labels,
)  # fmt: skip

ENDING = ".nii.gz"
"""Of every file that is written."""

LabelMap = dict[str, tuple[int, ...]]
"""Name of a label to the values that become it. In the files written it has the number of its place, from 1."""


@dataclass(frozen=True)
class ConversionOptions:
    """What the user says beside the source; empty: as the converter thinks best."""

    channels: dict[str, str] = field(default_factory=dict)
    """Name of a channel to the pattern of its images, in the order of the channels."""
    label: str | None = None
    """Pattern of the label maps."""
    labels: LabelMap = field(default_factory=dict)
    """Labels to keep; all other values become background."""
    keep_names: bool = False
    """Whether cases are called as their headers say: by patients, in DICOM."""
    keep_headers: bool = False
    """Whether NIfTI files are copied with all that their headers say, descriptions and extensions included."""
    series: tuple[str, ...] = ()
    """DICOM: numbers or UIDs of series to be taken where several fit."""
    newest: bool = False
    """DICOM: whether the series that was acquired last is taken where several fit."""


class Source(Protocol):
    """One image or label map that is there in some form."""

    def header(self) -> Header:
        """Grid and channels, without reading voxels if possible. Raises ImageFileError or DatasetError."""
        ...

    def write(self, targets: Sequence[Path]) -> None:
        """Writes every channel as a NIfTI file of its own. Raises ImageFileError or DatasetError."""
        ...


@dataclass(frozen=True)
class ImageFile:
    """A file that is taken over: voxels, their type and the grid do not change."""

    path: Path
    keep_headers: bool = False
    """Whether the rest of a NIfTI header does not either; other formats lose theirs in any case."""

    def header(self) -> Header:
        return read_header(self.path)

    def write(self, targets: Sequence[Path]) -> None:
        ending = ending_of(self.path).lower()
        if len(targets) > 1 or ending not in (ENDING, ".nii"):
            return split_channels(self.path, targets)
        if not self.keep_headers:
            return copy_without_texts(self.path, targets[0])
        with atomic_file(targets[0], durable=False) as temporary:
            if ending == ENDING:
                shutil.copyfile(self.path, temporary)
            else:
                with self.path.open("rb") as plain, gzip.open(temporary, "wb") as packed:
                    shutil.copyfileobj(plain, packed)


@dataclass(frozen=True)
class Relabelled:
    """A label map of which some values are kept under other numbers."""

    path: Path
    labels: LabelMap

    def header(self) -> Header:
        return read_header(self.path)

    def write(self, targets: Sequence[Path]) -> None:
        array, geometry = read_labels(self.path)
        numbered = np.zeros(array.shape, np.uint8 if len(self.labels) < 256 else np.uint16)
        for number, values in enumerate(self.labels.values(), start=1):
            numbered[np.isin(array, values)] = number
        write_labels(numbered, geometry, targets[0], like=self.path)


@dataclass(frozen=True)
class FoundCase:
    """One case."""

    key: str
    images: tuple[Source, ...]
    """In the order of the channels: one each, or a single one that holds them all."""
    label: Source | None = None
    """None: a case to predict."""
    origin: dict[str, str] = field(default_factory=dict)
    """What tells a person which case this is: for the table that the user may ask for, and for nothing else."""


@dataclass(frozen=True)
class Found:
    """Everything that a converter has found."""

    channels: tuple[str, ...]
    cases: tuple[FoundCase, ...]
    """Those that can be converted, sorted."""
    problems: tuple[str, ...] = ()
    """One sentence for each case that cannot, beginning with its name."""
    labels: dict[str, Any] = field(default_factory=dict)
    """For dataset.json: name to value, background among them; empty: whatever values there are."""
    about: dict[str, str] = field(default_factory=dict)
    """Further entries of dataset.json: licence, citation, ..."""


class Conversion(Protocol):
    """What a file of ``conversions/`` defines as ``CONVERSION``."""

    @property
    def description(self) -> str:
        """What it is for, in one line."""
        ...

    def find(self, source: Path, wanted: ConversionOptions) -> Found:
        """Looks through the folder ``source``. Raises DatasetError when it is no such source, or nothing is in it."""
        ...


def label_source(path: Path, labels: LabelMap, wanted: ConversionOptions) -> Source:
    return Relabelled(path, labels) if labels else ImageFile(path, wanted.keep_headers)


def numbered(labels: LabelMap) -> dict[str, int]:
    """What the labels of a ``LabelMap`` are in the files written; empty for an empty one. Raises DatasetError."""
    if "background" in labels:
        raise DatasetError("`background` is all that is not kept; give the label another name")
    return {"background": 0} | {name: number for number, name in enumerate(labels, start=1)} if labels else {}
