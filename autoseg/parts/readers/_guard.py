"""Whatever is wrong with a file leaves the readers as one kind of error, short and with the file's name."""

from __future__ import annotations

import logging
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ...core.names import short
from ...errors import AutosegError, ImageFileError

LONGEST = 1500  # characters of a message
LONGEST_REASON = 300  # of what a library says


@contextmanager
def refusals(path: Path, deed: str = "read") -> Iterator[None]:
    """Turns every exception inside into an ImageFileError about ``path``; those that autoseg words stay what they are.

    Libraries meet bytes here that their authors never saw, and they raise anything: struct.error, zlib.error,
    OverflowError, SyntaxError, MemoryError, AssertionError.
    """
    try:
        with np.errstate(all="ignore"):  # values beyond float32 become infinite and are found as such
            yield
    except AutosegError as error:
        raise type(error)(_printable(str(error))) from None
    except MemoryError:
        raise ImageFileError(_printable(f"{path}: takes more memory than this process may have")) from None
    except Exception as error:
        if deed == "read":
            raise ImageFileError(_printable(str(unreadable(path, error)))) from None
        raise ImageFileError(_printable(f"{path}: cannot be {deed} ({_reason(error)})")) from None


def present(path: Path) -> None:
    """Raises ImageFileError unless ``path`` is a file: reading a pipe or a device might never end."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise ImageFileError(f"{path}: there is no such file") from None
    except (OSError, ValueError) as error:
        raise ImageFileError(f"{path}: cannot be opened ({_reason(error)})") from None
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe, socket or device"
        raise ImageFileError(f"{path}: is {kind}, expected a file")


def unreadable(path: Path, error: Exception) -> ImageFileError:
    """The error to raise when a library gave up on a file."""
    return ImageFileError(
        f"{path}: cannot be read, it is damaged, incomplete or of another format ({_reason(error)}). "
        "Copy or export it again"
    )


_LOCK = threading.Lock()
_SILENT: list[warnings.catch_warnings] = []
_INSIDE = 0


@contextmanager
def silence() -> Iterator[None]:
    """Keeps what Pillow and tifffile warn of from the user: autoseg says itself what it accepts and what not.

    Filters of warnings belong to the whole process. The first thread in changes them and the last one out restores
    them: with one change for each thread, the last might restore those of another.
    """
    global _INSIDE
    with _LOCK:
        if _INSIDE == 0:
            logging.getLogger("tifffile").setLevel(logging.CRITICAL)
            _SILENT.append(warnings.catch_warnings())
            _SILENT[0].__enter__()
            warnings.filterwarnings("ignore", module=r"(PIL|tifffile)\b")
        _INSIDE += 1
    try:
        yield
    finally:
        with _LOCK:
            _INSIDE -= 1
            if _INSIDE == 0:
                _SILENT.pop().__exit__(None, None, None)


def _reason(error: Exception) -> str:
    """The last line of what a library says: ITK's first ones name its source files."""
    lines = str(error).strip().splitlines()
    return short(lines[-1].strip() if lines else type(error).__name__, LONGEST_REASON)


def _printable(message: str) -> str:
    """Bounded, and without what would move a terminal's cursor: names of files may hold line ends."""
    text = message if message.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in message)
    return short(text, LONGEST)
