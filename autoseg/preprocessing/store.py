"""Prepared cases on disk: one folder per case, arrays chunked and compressed so that a patch is read alone.

<case>/
    image.b2nd      (channels, z, y, x) float16, or float32 where half precision would lose something
    labels.b2nd     (z, y, x) label indices
    locations.npy   positions of voxels of each label, and in locations.npz where each of its parts begins
    case.json       CaseRecord: the way back to the file's grid, what the arrays were made from, what the files must be

Every file is read once per process and compared with what ``case.json`` says before anything is unpacked: Blosc2 and
numpy take a changed byte for another voxel, and some for a reason to end the process.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ..core.files import atomic_folder, holds
from ..core.geometry import Box, Geometry
from ..core.integrity import Mark, damage
from ..core.json_text import read_json_value
from ..core.records import read_json, sealed_json
from ..errors import ImageFileError, RecordError, WorkspaceError
from .arrays import read_array, write_array
from .locations import Locations
from .prepare import PreparedCase
from .spatial import SpatialRecord

LARGEST_HALF = 2048.0  # above it float16 no longer tells neighbouring integers apart
RECORD = "case.json"
IMAGE, LABELS, VOXELS, PARTS = FILES = ("image.b2nd", "labels.b2nd", "locations.npy", "locations.npz")
OLDER = "is of another version of autoseg, without checksums"
MARKS = ('"content"', '"geometry"', '"record"')  # names in every record, of any version
CHUNK_EDGE = 64  # where no patch size is known


@dataclass(frozen=True)
class CaseRecord:
    """What ``case.json`` says."""

    content: str
    """What the arrays were made from: equal means they need not be made again."""
    shape: tuple[int, int, int]
    channels: int
    geometry: Geometry
    """The file's grid."""
    record: SpatialRecord
    files: dict[str, Mark]
    """What each of ``FILES`` must be."""
    absent: tuple[int, ...] = ()
    """Channels that the case lacks, counted from 0."""

    def __post_init__(self) -> None:
        if set(self.files) != set(FILES):
            raise ValueError(f"files must be {', '.join(FILES)}; found {', '.join(self.files)}")


@dataclass(frozen=True)
class StoredCase:
    """One prepared case; reading is safe from several threads at once."""

    folder: Path
    case: CaseRecord

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels (z, y, x) on the network's grid."""
        return self.case.shape

    @property
    def channels(self) -> int:
        return self.case.channels

    @property
    def absent(self) -> tuple[int, ...]:
        """Channels that it lacks, counted from 0."""
        return self.case.absent

    @property
    def geometry(self) -> Geometry:
        """The file's grid."""
        return self.case.geometry

    @property
    def record(self) -> SpatialRecord:
        return self.case.record

    @cached_property
    def _parts(self) -> dict[str, np.ndarray]:
        with np.load(self._file(PARTS), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}

    @property
    def foreground(self) -> Locations:
        """Where its labels are. Its voxels stay on disk until they are asked for: many labels have millions.

        Raises ImageFileError when a file is damaged.
        """
        return Locations(np.load(self._file(VOXELS), mmap_mode="r", allow_pickle=False), **self._parts)

    def read(self, box: Box, channels: Sequence[int] | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Image (channels, *box) float16 or float32, and label indices (*box), of a box inside the case.

        ``channels`` None: all. Raises ImageFileError when a file is damaged.
        """
        first, stop = (0, self.channels) if channels is None else (min(channels), max(channels) + 1)
        image = read_array(self._file(IMAGE), (slice(first, stop), *box.slices))
        if channels is not None and [*channels] != [*range(first, stop)]:
            image = image[[channel - first for channel in channels]]
        return image, read_array(self._file(LABELS), box.slices)

    def read_whole(self) -> tuple[np.ndarray, np.ndarray]:
        """Image and label indices of the whole case."""
        return self.read(Box.whole(self.shape))

    def _file(self, name: str) -> Path:
        path = self.folder / name
        if found := damage(path, self.case.files[name]):
            raise ImageFileError(
                f"case {self.folder.name}: {path} {found}. Run `autoseg preprocess` for this dataset, which prepares "
                "the case anew, then the same command again"
            )
        return path


@dataclass(frozen=True)
class CaseStore:
    """The prepared cases of one configuration."""

    folder: Path
    patch_size: tuple[int, ...] = (CHUNK_EDGE,) * 3
    """What will be read at once (two entries: slices); shapes the chunks that are written, nothing else."""

    def keys(self) -> tuple[str, ...]:
        """Complete cases, sorted."""
        found = (path.parent.name for path in self.folder.glob(f"*/{RECORD}"))
        return tuple(sorted(key for key in found if not key.startswith(".")))

    def content(self, key: str) -> str | None:
        """The content key the case was written with; None where there is no readable case."""
        return self.look(key)[0]

    def look(self, key: str) -> tuple[str | None, str | None]:
        """The content key the case was written with, and why it must be prepared anew, to be said after its name.

        The latter is empty where it never was prepared, None where it is whole. All of its files are read, once per
        process.
        """
        folder = self.folder / key
        if not folder.exists():
            return None, ""
        try:
            case = read_json(folder / RECORD, CaseRecord)
        except RecordError as error:
            return None, OLDER if _is_of_before(folder / RECORD) else str(error)
        damages = ((folder / name, damage(folder / name, mark)) for name, mark in case.files.items())
        return case.content, next((f"{path} {found}" for path, found in damages if found), None)

    def open(self, key: str) -> StoredCase:
        """Raises WorkspaceError when the case was never prepared, or its record is damaged."""
        folder = self.folder / key
        try:
            return StoredCase(folder, read_json(folder / RECORD, CaseRecord))
        except RecordError as error:
            why = f": {error}" if (folder / RECORD).exists() else ""
            raise WorkspaceError(
                f"case {key} is not prepared in {self.folder}{why}; run `autoseg preprocess` again"
            ) from None

    def write(self, key: str, prepared: PreparedCase, content_key: str) -> None:
        """Writes one case, all or nothing; replaces an older one of the same key."""
        assert prepared.labels is not None and prepared.foreground is not None, "only labelled cases are stored"
        channels, *shape = prepared.image.shape
        _remove_torn(self.folder / key)
        with atomic_folder(self.folder / key, mark=RECORD, words=MARKS) as folder:
            write_array(folder / IMAGE, _half(prepared.image), self.patch_size)
            write_array(folder / LABELS, prepared.labels, self.patch_size)
            _write_locations(folder, prepared.foreground)
            files = {name: Mark.of(folder / name) for name in FILES}
            grid = (shape[0], shape[1], shape[2])
            case = CaseRecord(content_key, grid, channels, prepared.geometry, prepared.record, files, prepared.absent)
            (folder / RECORD).write_text(json.dumps(sealed_json(case)), encoding="utf-8")


def _is_of_before(path: Path) -> bool:
    """Whether it is a record without checksums, as they once were."""
    try:
        value = read_json_value(path)
    except RecordError:
        return False
    return isinstance(value, dict) and "content" in value and "files" not in value


def _remove_torn(folder: Path) -> None:
    """A case that has lost its record, or what stands in it, and holds nothing else than a case does."""
    if folder.is_dir() and not folder.is_symlink() and not holds(folder / RECORD, MARKS):
        names = {path.name for path in folder.iterdir()}
        if names & {*FILES} and names <= {RECORD, *FILES}:
            shutil.rmtree(folder)


def _half(image: np.ndarray) -> np.ndarray:
    largest = max(-float(image.min()), float(image.max()))
    return image.astype(np.float16) if largest <= LARGEST_HALF else image


def _write_locations(folder: Path, found: Locations) -> None:
    np.save(folder / VOXELS, found.voxels)
    np.savez(folder / PARTS, labels=found.labels, ends=found.ends, sizes=found.sizes)
