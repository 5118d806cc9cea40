"""Whatever is wrong with a file leaves the readers as one kind of error, short and with the file's name."""

from __future__ import annotations

import logging
import stat
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
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
_INSIDE: list[ExitStack] = []


@contextmanager
def silence() -> Iterator[None]:
    """Keeps what Pillow, tifffile and ITK warn of from the user: autoseg says itself what it accepts and what not.

    What they show is a matter of the whole process. The first thread in changes it and the last one out restores it:
    with one change for each thread, the last might restore that of another.
    """
    with _LOCK:
        _INSIDE.append(_INSIDE[0] if _INSIDE else _silenced())
    try:
        yield
    finally:
        with _LOCK:
            changes = _INSIDE.pop()
            if not _INSIDE:
                changes.close()


def _silenced() -> ExitStack:
    """Restores what it changes when it is closed."""
    changes = ExitStack()
    changes.enter_context(warnings.catch_warnings())
    warnings.filterwarnings("ignore", module=r"(PIL|tifffile)\b")
    tifffile = logging.getLogger("tifffile")
    changes.callback(tifffile.setLevel, tifffile.level)
    tifffile.setLevel(logging.CRITICAL)
    itk = sys.modules.get("SimpleITK")
    if itk is not None and itk.ProcessObject.GetGlobalWarningDisplay():
        changes.callback(itk.ProcessObject.GlobalWarningDisplayOn)
        itk.ProcessObject.GlobalWarningDisplayOff()
    return changes


def _reason(error: Exception) -> str:
    """The last line of what a library says: ITK's first ones name its source files."""
    lines = str(error).strip().splitlines()
    return short(lines[-1].strip() if lines else type(error).__name__, LONGEST_REASON)


def _printable(message: str) -> str:
    """Bounded, and without what would move a terminal's cursor: names of files may hold line ends."""
    text = message if message.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in message)
    return short(text, LONGEST)
