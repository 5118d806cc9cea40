"""Whether a file still is what was written: its size and checksum are kept in a record beside it.

CRC-32 (zlib, 3 GB/s on one core, 2 to 5 times as fast as any hash) finds every changed byte, every cut and every file
in the place of another but one in 4 billion. It is no protection against somebody who wants to deceive.
"""

from __future__ import annotations

import os
import stat
import zlib
from dataclasses import dataclass
from pathlib import Path

BLOCK = 1 << 20


@dataclass(frozen=True)
class Mark:
    """What a file was when it was written."""

    size: int
    """Bytes."""
    crc32: int

    @classmethod
    def of(cls, path: Path, without: int = 0) -> Mark:
        """Reads the file, ``without`` its last bytes."""
        size = found = 0
        with path.open("rb", buffering=0) as file:
            left = os.fstat(file.fileno()).st_size - without
            while left > 0 and (block := file.read(min(BLOCK, left))):
                found, size, left = zlib.crc32(block, found), size + len(block), left - len(block)
        return cls(size, found)


_State = tuple[int, ...]
_whole: dict[str, tuple[_State, Mark]] = {}  # what this process has found whole, and the state it was in then


def damage(path: Path, mark: Mark) -> str | None:
    """What is wrong with ``path``, to be said after its name; None where it is what ``mark`` says.

    The file is read once per process. As long as size and times stay, a look at these is enough (2 microseconds): it
    may come before every use.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            return "is no file"
        if found.st_size != mark.size:
            return f"is damaged (it has {found.st_size} bytes, {mark.size} were written)"
        state = found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
        if _whole.get(str(path)) == (state, mark):
            return None
        if Mark.of(path) != mark:
            return "is damaged (its content is not what was written)"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    _whole[str(path)] = state, mark
    return None
