"""Every written file or folder is complete or absent: written beside its place, then renamed.

An unfinished one is called ``.writing-<process>-<8 hexadecimal digits>-<name>``: nothing else is ever taken for one.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import WorkspaceError

_UNFINISHED = re.compile(r"\.writing-(\d+)-[0-9a-f]{8}-.+", re.DOTALL)
ABANDONED = 24 * 3600.0  # seconds without a change; where no system tells which processes live


@contextmanager
def atomic_file(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yields a temporary path beside ``path``; on success it becomes ``path``, on failure it vanishes.

    The temporary name keeps the ending, since image writers choose their format by it. ``durable`` False does not wait
    for the disk: for many small files that are made again when a power cut has taken them. Raises WorkspaceError where
    a folder lies in the place of ``path``, or a file in that of its folder.
    """
    make_folder(path.parent)
    refuse_folder(path)
    temporary = unfinished(path)
    try:
        yield temporary
        if durable:
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path, mark: str) -> Iterator[Path]:
    """Yields a temporary folder beside ``path``; on success it replaces ``path``, on failure it vanishes.

    Only a folder that holds a file called ``mark``, as all do that are made here, or nothing at all is replaced. Raises
    WorkspaceError for any other: it is somebody's.
    """
    make_folder(path.parent)
    _refuse_foreign(path, mark)
    temporary = unfinished(path)
    temporary.mkdir()
    try:
        yield temporary
        _refuse_foreign(path, mark)
        if path.exists():
            shutil.rmtree(path)
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def make_folder(folder: Path) -> None:
    """With those it lies in. Raises WorkspaceError where a file is in the way."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise WorkspaceError(f"{folder} cannot be made, a file is in its place; move that away") from None


def refuse_folder(path: Path) -> None:
    """Raises WorkspaceError where a folder lies in the place of the file ``path``."""
    if path.is_dir():
        raise WorkspaceError(f"{path} is a folder, in the place of a file that is to be written; move it away")


def _refuse_foreign(path: Path, mark: str) -> None:
    ours = not os.path.lexists(path) or (
        path.is_dir() and not path.is_symlink() and ((path / mark).is_file() or not any(path.iterdir()))
    )
    if not ours:
        raise WorkspaceError(f"{path} was not made by autoseg (there is no {mark} in it); move it away, or rename it")


def unfinished(path: Path) -> Path:
    """Where ``path`` lies while this process writes it; the name keeps the ending."""
    return path.with_name(f".writing-{os.getpid()}-{uuid.uuid4().hex[:8]}-{path.name}")


def remove_unfinished(folder: Path) -> None:
    """Removes what killed processes left half written in ``folder``; what living ones write stays."""
    for leftover in folder.glob(".writing-*"):
        match = _UNFINISHED.fullmatch(leftover.name)
        if match is None or not _abandoned(leftover, int(match[1])):
            continue
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def _abandoned(leftover: Path, process: int) -> bool:
    """Whether the process that wrote it is gone. One of another machine, on a shared disk, is not seen here: where that
    may be, the lock of what is written (a dataset's folder, a training) keeps two from writing at once."""
    if os.name != "posix":
        try:
            return time.time() - leftover.stat().st_mtime > ABANDONED
        except OSError:
            return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        pass
    return False


def content_hash(*paths: Path) -> str:
    """SHA-256 over the bytes of the files, in order, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        digest.update(b"\0")
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of one file as 64 hexadecimal digits, as ``sha256sum`` prints it."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
