"""The files of a bundle as they lie in a folder or a zip. Nothing is believed: not the names, not the sizes."""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Union

from ..errors import ModelError

MOST_ENTRIES = 1000
MOST_BYTES = 64 << 30  # of all files together; a fold of nnU-Net's largest preset has 0.6 GB
LARGEST_RATIO = 100  # unpacked to packed; weights do not shrink to less than half, JSON to a twentieth


@dataclass(frozen=True)
class FolderSource:
    """A bundle as a folder."""

    path: Path

    def sizes(self) -> dict[str, int]:
        """Name (with ``/``) to bytes of every file."""
        found = [path for path in self.path.rglob("*") if path.is_file()]
        return {path.relative_to(self.path).as_posix(): path.stat().st_size for path in found}

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        with (self.path / name).open("rb") as file:
            yield file


@dataclass(frozen=True)
class ZipSource:
    """A bundle as a zip archive; it is never unpacked to be read."""

    path: Path

    def sizes(self) -> dict[str, int]:
        """Name to bytes, unpacked, of every file. Raises ModelError for an entry that no bundle can have."""
        with self._archive() as archive:
            entries = archive.infolist()
        if len(entries) > MOST_ENTRIES:
            raise self._refused(f"it has {len(entries)} entries, more than the {MOST_ENTRIES} that a bundle may have")
        sizes: dict[str, int] = {}
        for entry in entries:
            if problem := _problem(entry):
                raise self._refused(f"entry {entry.filename!r} {problem}")
            if entry.is_dir():
                continue
            if entry.filename in sizes:
                raise self._refused(f"entry {entry.filename!r} is there twice")
            sizes[entry.filename] = entry.file_size
        if sum(sizes.values()) > MOST_BYTES:
            raise self._refused(f"it would unpack to {sum(sizes.values()) / 1e9:.0f} GB")
        return sizes

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        try:
            with self._archive() as archive, archive.open(name) as file:
                yield file
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise self._refused(f"{name} in it is damaged ({error})") from None

    @contextmanager
    def _archive(self) -> Iterator[zipfile.ZipFile]:
        try:
            archive = zipfile.ZipFile(self.path)
        except (zipfile.BadZipFile, ValueError, UnicodeDecodeError, OSError) as error:
            raise self._refused(f"it is no readable zip archive ({error})") from None
        with archive:
            yield archive

    def _refused(self, why: str) -> ModelError:
        return ModelError(f"{self.path} is not loaded: {why}")


Source = Union[FolderSource, ZipSource]


def _problem(entry: zipfile.ZipInfo) -> str | None:
    """Why an entry of an archive cannot belong to a bundle."""
    name = entry.orig_filename  # zipfile cuts ``filename`` off at a zero byte and turns backslashes on Windows
    parts = PurePosixPath(name).parts
    if name.startswith("/") or "\\" in name or ":" in name or "\0" in name or ".." in parts:
        return "points outside the bundle"
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device"
    if entry.flag_bits & 0x1:
        return "is encrypted"
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "is compressed in an unusual way"
    if entry.file_size > LARGEST_RATIO * max(entry.compress_size, 1024):
        return f"would unpack to {entry.file_size / 1e6:.0f} MB from {entry.compress_size / 1e6:.3f} MB"
    return None
