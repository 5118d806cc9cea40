"""The files of a bundle as they lie in a folder or a zip. Nothing is believed: not the names, not the sizes."""

from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import IO, Union

from ..core.names import short
from ..errors import ModelError

MOST_ENTRIES = 1000
MOST_BYTES = 64 << 30  # of all files together; a fold of nnU-Net's largest preset has 0.6 GB
LARGEST_RATIO = 100  # unpacked to packed; weights do not shrink to less than half, JSON to a twentieth
LARGEST_DIRECTORY = 2 << 20  # bytes in which an archive lists its entries: so few take a tenth of that

# What zipfile, zlib and the system raise for an archive that is damaged or made to be misread.
DAMAGED = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, ValueError, LookupError, OverflowError,
    RuntimeError,
)  # fmt: skip


@dataclass(frozen=True)
class FolderSource:
    """A bundle as a folder."""

    path: Path

    def sizes(self) -> dict[str, int]:
        """Name (with ``/``) to bytes of every file."""
        found = [path for path in self.path.rglob("*") if path.is_file()]
        return {path.relative_to(self.path).as_posix(): path.stat().st_size for path in found}

    def size(self, name: str) -> int | None:
        """Bytes of a file; None where it is missing. Raises ModelError for a link that leads out of the bundle."""
        file = self.path / name
        if not os.path.isfile(file):
            return None
        if not file.resolve().is_relative_to(self.path.resolve()):
            raise ModelError(f"{self.path} is not loaded: {name} is a link that leads out of it")
        return file.stat().st_size

    def surplus(self, names: Collection[str]) -> list[str]:
        """None, whatever lies there: beside the files of a folder anyone may have put notes."""
        return []

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """Raises ModelError for a file that cannot be read."""
        try:
            with (self.path / name).open("rb") as file:
                yield file
        except OSError as error:
            raise ModelError(f"{self.path}: {name} cannot be read ({error.strerror or error})") from None


@dataclass(frozen=True)
class ZipSource:
    """A bundle as a zip archive; it is never unpacked to be read."""

    path: Path

    def sizes(self) -> dict[str, int]:
        """Name to bytes, unpacked, of every file. Raises ModelError for an entry that no bundle can have."""
        return self._sizes

    def size(self, name: str) -> int | None:
        """Bytes, unpacked, of a file; None where it is missing. Raises ModelError as ``sizes`` does."""
        return self.sizes().get(name)

    def surplus(self, names: Collection[str]) -> list[str]:
        """Files that are none of these."""
        return sorted(self.sizes().keys() - set(names))

    @cached_property
    def _sizes(self) -> dict[str, int]:
        with self._archive() as archive:
            entries = archive.infolist()
        if len(entries) > MOST_ENTRIES:
            raise self._refused(f"it has {len(entries)} entries, more than the {MOST_ENTRIES} that a bundle may have")
        sizes: dict[str, int] = {}
        for entry in entries:
            if problem := _problem(entry):
                raise self._refused(f"entry {short(entry.filename)!r} {problem}")
            if entry.is_dir():
                continue
            if entry.filename in sizes:
                raise self._refused(f"entry {short(entry.filename)!r} is there twice")
            sizes[entry.filename] = entry.file_size
        if sum(sizes.values()) > MOST_BYTES:
            raise self._refused(f"it would unpack to {sum(sizes.values()) / 1e9:.0f} GB")
        if sum(entry.compress_size for entry in entries) > self.path.stat().st_size:
            raise self._refused("its entries overlap")
        return sizes

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """Raises ModelError for a file that cannot be read, now or while it is."""
        try:
            with self._archive() as archive, archive.open(name) as file:
                yield file
        except DAMAGED as error:
            raise self._refused(f"{name} in it is damaged ({short(str(error), 200)})") from None

    @contextmanager
    def _archive(self) -> Iterator[zipfile.ZipFile]:
        try:
            file = _Sparing(self.path)
        except OSError as error:
            raise self._refused(f"it cannot be read ({error.strerror or error})") from None
        with file:
            try:
                archive = zipfile.ZipFile(file)
            except DAMAGED as error:
                raise self._refused(f"it is no readable zip archive ({short(str(error), 200)})") from None
            file.sparing = False
            with archive:
                yield archive

    def _refused(self, why: str) -> ModelError:
        return ModelError(f"{self.path} is not loaded: {why}")


Source = Union[FolderSource, ZipSource]


class _Sparing(io.FileIO):
    """zipfile reads the directory of an archive whole, however long it claims to be, before anybody can ask."""

    sparing = True
    """Whether the directory is being read."""

    def read(self, size: int | None = -1) -> bytes:
        if self.sparing and size is not None and size > LARGEST_DIRECTORY:
            raise zipfile.BadZipFile("it has more entries than a bundle may have")
        return super().read(size)


def _problem(entry: zipfile.ZipInfo) -> str | None:
    """Why an entry of an archive cannot belong to a bundle."""
    name = entry.orig_filename  # zipfile cuts ``filename`` off at a zero byte and turns backslashes on Windows
    if not name:
        return "has no name"
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
