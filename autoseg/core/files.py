"""Every written file or folder is complete or absent: written beside its place, then renamed.

An unfinished one is called ``.writing-<process>-<12 hexadecimal digits>-<name>``: nothing else is ever taken for one.
The digits say which machine, which of its processes of that number, and which of its files.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import re
import shutil
import socket
import stat
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import IO

from ..errors import UsageError, WorkspaceError
from .process import began

_UNFINISHED = re.compile(r"\.writing-(\d+)-([0-9a-f]{8}|[0-9a-f]{12})-.+", re.DOTALL)  # of before: 8 digits, random
_PROCESS, _COUNT = os.urandom(2).hex(), itertools.count()
ABANDONED = 24 * 3600.0  # seconds without a change; where no system tells which processes live
QUIET = 600.0  # of a machine or container whose processes are not seen from here: what lives writes more often
CLOCK_STEP = 120.0  # seconds by which the clocks of a disk and of this machine may differ
LOOKS = 5  # at a folder that seems to be somebody's
ATTEMPTS = 20  # to replace a folder that others replace at the same moment
WRITERS = ("inline_container", "NDArray")  # what torch and Blosc2 speak of when they could not write
LOOKED_THROUGH = 1 << 24  # bytes of a file that marks a folder as ours
PROBE = 1 << 12  # bytes that must fit onto a disk which is asked whether it can be written to
ROOM = 1 << 22  # bytes; where they do not fit, a library that could not write has found the disk full


@contextmanager
def atomic_file(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yields a temporary path beside ``path``; on success it becomes ``path``, on failure it vanishes.

    The temporary name keeps the ending, since image writers choose their format by it. ``durable`` False does not wait
    for the disk: for many small files that are made again when a power cut has taken them. Raises OSError naming
    ``path`` where the disk is full or nothing may be written there, whatever the library that writes says, and
    WorkspaceError where a folder lies in its place, or a file in that of its folder.
    """
    temporary = unfinished(path)
    with _named(path, temporary):
        make_folder(path.parent)
        refuse_folder(path)
        try:
            yield temporary
            if durable:
                with temporary.open("rb+") as file:
                    os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path, mark: str, words: Sequence[str] = ()) -> Iterator[Path]:
    """Yields a temporary folder beside ``path``; on success it replaces ``path``, on failure it vanishes.

    Only a folder that holds a file called ``mark`` in which ``words`` stand, as all do that are made here, or nothing
    at all is replaced. Raises WorkspaceError for any other: it is somebody's.
    """
    temporary = unfinished(path)
    with _named(path, temporary):
        make_folder(path.parent)
        _refuse_foreign(path, mark, words)
        temporary.mkdir()
        try:
            yield temporary
            _replace_folder(path, temporary, mark, words)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _replace_folder(path: Path, by: Path, mark: str, words: Sequence[str]) -> None:
    """The old folder is moved away in one step, never half removed, also where another process replaces it, too."""
    for _ in range(ATTEMPTS):
        _refuse_foreign(path, mark, words)
        old = unfinished(path)
        try:
            if path.exists():
                os.replace(path, old)
            os.replace(by, path)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST) or not by.exists():
                raise
        else:
            return
        finally:
            shutil.rmtree(old, ignore_errors=True)
    raise WorkspaceError(f"{path} is replaced by other processes again and again; let them end, then try again")


@contextmanager
def _named(path: Path, temporary: Path) -> Iterator[None]:
    """An OSError inside that names no file, or the temporary one, is one of ``path``.

    So is what some libraries raise instead (torch RuntimeError, safetensors an error of its own, Blosc2 nothing of
    use): then the folder is asked whether it can be written to.
    """
    try:
        yield
    except WorkspaceError:
        raise
    except OSError as error:
        if error.filename is not None and not str(os.fsdecode(error.filename)).startswith(str(temporary)):
            raise
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    except Exception as error:
        stated = re.search(r"\(os error (\d+)\)", str(error))
        number = int(stated[1]) if stated else _why_not_writable(path.parent)
        if number is None and any(word in str(error) for word in WRITERS):
            number = errno.EIO
        if number is None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


def _why_not_writable(folder: Path) -> int | None:
    try:
        refuse_unwritable(folder, room=ROOM)
    except OSError as error:
        return error.errno
    return None


def lend_for_temporary_files(folder: Path) -> None:
    """Temporary files of this process go into ``folder`` where the system has no other place for them."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        tempfile.tempdir = str(nearest_folder(folder.absolute()))


def nearest_folder(path: Path) -> Path:
    """``path`` itself, or the folder in which it would be made. Raises NotADirectoryError where that is a file."""
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    if not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    return path


def refuse_unwritable(folder: Path, room: int = PROBE) -> None:
    """Raises OSError, naming what stands in the way, where ``room`` bytes cannot be written into ``folder``.

    Where it does not exist yet, the folder is asked in which it would be made; nothing is left there.
    """
    there = nearest_folder(folder)
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(bytes(room))
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(there)) from None


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


def _refuse_foreign(path: Path, mark: str, words: Sequence[str]) -> None:
    for _ in range(LOOKS):
        if _is_ours(path, mark, words):
            return
        time.sleep(0.001)  # another process may have replaced it between two questions
    raise WorkspaceError(
        f"{path} was not made by autoseg (there is no {mark} of ours in it); move it away, or rename it"
    )


def _is_ours(path: Path, mark: str, words: Sequence[str]) -> bool:
    try:
        return not os.path.lexists(path) or (
            path.is_dir() and not path.is_symlink() and (holds(path / mark, words) or not any(path.iterdir()))
        )
    except FileNotFoundError:
        return True


def holds(path: Path, words: Sequence[str]) -> bool:
    """Whether ``path`` is a file in which all ``words`` stand, between its beginning and ``LOOKED_THROUGH``."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        content = file.read(LOOKED_THROUGH)
    return all(word.encode() in content for word in words)


@contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """A folder beside ``path`` for what is needed until ``path`` is written."""
    folder = unfinished(path)
    with _named(path, folder):
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def unfinished(path: Path) -> Path:
    """Where ``path`` lies while this process writes it; the name keeps the ending."""
    which = f"{_machine()}{_PROCESS}{next(_COUNT) % 0x10000:04x}"
    return path.with_name(f".writing-{os.getpid()}-{which}-{path.name}")


@lru_cache
def _machine() -> str:
    """Four digits that are others wherever other processes may have the number of this one: a container, too."""
    seen = ""
    with suppress(OSError):  # no Linux
        seen = os.readlink("/proc/self/ns/pid")
    return hashlib.sha256(f"{socket.gethostname()} {seen}".encode(errors="replace")).hexdigest()[:4]


def remove_unfinished(folder: Path) -> None:
    """Removes what killed processes left half written in ``folder``; what living ones write stays."""
    for leftover in folder.glob(".writing-*"):
        match = _UNFINISHED.fullmatch(leftover.name)
        if match is None or not _abandoned(leftover, int(match[1]), match[2]):
            continue
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def _abandoned(leftover: Path, process: int, which: str) -> bool:
    """Whether the process that wrote it is gone.

    Several machines may write into one folder on a disk that they share, say predictions; their processes are not seen
    here, but what they write is seen to grow.
    """
    try:
        touched = leftover.lstat().st_mtime
        if len(which) == 12 and which[:4] != _machine():
            return time.time() - max([touched, *_touched_within(leftover)]) > QUIET + CLOCK_STEP
    except OSError:
        return False
    if os.name != "posix":
        return time.time() - touched > ABANDONED
    if process == os.getpid() and which[4:8] != _PROCESS:
        return True  # in a container every run has the same small number
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        pass
    start = began(process)  # a file older than the process is none of its own
    return start is not None and touched < start - CLOCK_STEP


def _touched_within(folder: Path) -> Iterator[float]:
    for root, _, names in os.walk(folder):
        yield from (os.lstat(os.path.join(root, name)).st_mtime for name in names)


def named_path(name: object, what: str) -> Path:
    """The path that somebody gave. Raises UsageError, beginning with ``what`` it is of, for what can be none."""
    if not isinstance(name, str | os.PathLike):
        raise UsageError(f"{what} must be a path, as text or Path, found {type(name).__name__}")
    text = os.fspath(name)
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise UsageError(f"{what} {text!r:.100} is no path")
    return Path(text)


def regular_file(path: Path) -> IO[bytes]:
    """Opens a file that somebody named, to read it.

    Raises OSError for anything else: a pipe or a device might never end, or never begin.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is no file but a pipe, socket or device", str(path))
    return path.open("rb")
