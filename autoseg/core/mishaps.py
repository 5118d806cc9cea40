"""What may befall a program from outside, a full disk or too little memory, as a sentence: what, where, what to do.

Anything that has no sentence here is a defect of autoseg.
"""

from __future__ import annotations

import errno
import os
import signal

from ..errors import AutosegError

MOST_LINE = 400  # characters
_CURES = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "your share of the disk is used up; free some space",
    errno.EFBIG: "the file is larger than the system allows here (`ulimit -f`)",
    errno.EROFS: "nothing can be written there; choose another folder, or another --workspace",
    errno.EACCES: "this user may not read or write it; change its permissions, or choose another folder",
    errno.EPERM: "this user may not read or write it; change its permissions, or choose another folder",
    errno.ENOTDIR: "a file lies where a folder is needed; choose another folder",
    errno.EEXIST: "a file lies where a folder is needed; choose another folder",
    errno.EISDIR: "a folder lies where a file is needed; choose another name",
    errno.ENOTEMPTY: "another process has written there at the same time; try again",
    errno.ENOENT: "there is no such file or folder",
    errno.ENAMETOOLONG: "the name is too long for this disk; choose a shorter one",
    errno.ELOOP: "links lead in a circle there",
    errno.EMFILE: "too many files are open; give fewer --threads, or raise `ulimit -n`",
    errno.ENFILE: "too many files are open on this machine; end other programs",
    errno.EIO: "it could not be read or written; the disk may be full, damaged or away",
    errno.ENOMEM: "there is too little memory for it; give fewer --threads, or end other programs",
}
_MEMORY = "there is too little memory; give fewer --threads or a smaller --memory, or end other programs"
_DEVICE = (
    "the device has too little memory; end other programs on it or choose another --device. "
    "To train, `autoseg plan` with less --memory"
)
_SAID_OF_MEMORY = (  # by torch and NVIDIA's libraries, in errors that have no class of their own
    "can't allocate memory",
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
_DEEP = "something is nested too deep to be read"
_THREADS = "the system starts no more threads; give fewer --threads, or raise `ulimit -u`"


def explained(error: BaseException) -> str | None:
    """The sentence; None for a defect."""
    said = str(error)
    if isinstance(error, AutosegError):
        return said
    if isinstance(error, OSError):
        return _explained_file(error)
    if isinstance(error, UnicodeError):
        return f"a name or text cannot be written in the system's encoding ({said}); rename it, or use UTF-8"
    if isinstance(error, RecursionError):
        return _DEEP
    if isinstance(error, MemoryError) or "can't allocate memory" in said:
        return _MEMORY
    if out_of_memory(error):
        return _DEVICE
    return _THREADS if said == "can't start new thread" else None


def out_of_memory(error: BaseException) -> bool:
    """Whether there was too little memory, of the machine or of a device, for something that may be tried smaller."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _SAID_OF_MEMORY)


def _explained_file(error: OSError) -> str:
    named = error.filename2 or error.filename
    where = os.fsdecode(named) if isinstance(named, str | bytes | os.PathLike) else named
    if error.errno == errno.ENOENT and not (where and os.path.isabs(where)) and _lost():
        return "the current folder does not exist any more; go to another one (`cd`)"
    cure = _CURES.get(error.errno or 0, error.strerror or str(error) or type(error).__name__)
    return cure if where is None else f"{where}: {cure}"


def _lost() -> bool:
    try:
        os.getcwd()
    except OSError:
        return True
    return False


def printable(text: str, most: int | None = None) -> str:
    """``text`` without what would steer a terminal, long lines without their middle.

    ``most`` is how many bytes may be printed (None: all); how many lines are left out is said.
    """
    lines = [_line(line) for line in text.split("\n")]
    if most is None:
        return "\n".join(lines)
    kept, size = 0, 0
    for line in lines:
        size += len(line.encode(errors="replace")) + 1
        if size > most:
            return "\n".join([*lines[:kept], f"... and {len(lines) - kept} more lines"])
        kept += 1
    return "\n".join(lines)


def _line(line: str) -> str:
    if not line.isprintable():
        line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    if len(line) <= MOST_LINE:
        return line
    half = (MOST_LINE - 5) // 2
    return f"{line[:half]} ... {line[-half:]}"


def is_ctrl_c(error: KeyboardInterrupt) -> bool:
    """Whether it was no other signal, which ``cli`` raises as one, too, with its number."""
    return error.args in ((), (signal.SIGINT,))
