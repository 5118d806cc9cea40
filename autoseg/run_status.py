"""What a training tells about itself while it runs, in one small file; and whether it still runs, told by a lock."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .core.bounds import bounded
from .core.files import make_folder, refuse_folder
from .core.names import short
from .core.records import read_json, write_json
from .errors import RecordError, WorkspaceError
from .run_folder import RunFolder

PHASES = ("training", "validating", "finished", "stopped", "failed")
SECONDS_BETWEEN_BEATS = 5.0
LATEST = 1e11  # seconds since 1970: three thousand years
SIGN_OF_LIFE = 60.0  # seconds within which a process whose lock is not seen has told something
PATIENCE = 2.0  # seconds in which a lock that is only looked at is free again


@dataclass(frozen=True)
class RunStatus:
    """``status.json``."""

    phase: str
    """``training``, ``validating``, ``finished``, ``stopped`` (it was asked to) or ``failed``."""
    host: str
    process: int
    updated: float
    """Seconds since 1970."""
    iteration: int = 0
    progress: float = 0.0
    """Of training, 0 to 1."""
    seconds_per_iteration: float | None = None
    seconds_left: float | None = None
    """Of training."""
    dice: float | None = None
    """The best so far: on whole validation cases where these were looked at, else on validation patches."""
    error: str | None = None
    """Why it failed."""

    def __post_init__(self) -> None:
        if self.phase not in PHASES:
            raise ValueError(f"phase must be one of {', '.join(PHASES)}; found {short(self.phase)!r}")
        bounded(self, "process", "iteration", least=0)
        bounded(self, "updated", "seconds_per_iteration", "seconds_left", least=0, most=LATEST)
        bounded(self, "progress", "dice", least=0, most=1)


@dataclass
class StatusFile:
    """Mutable: tells what has changed."""

    path: Path
    now: RunStatus
    written: float = float("-inf")

    @classmethod
    def of(cls, folder: RunFolder) -> StatusFile:
        """Goes on from what was told before, in this process's name."""
        before = read_status(folder) or RunStatus("training", "", 0, 0.0)
        fresh = replace(before, phase="training", error=None, seconds_left=None)
        return cls(folder.status, replace(fresh, host=socket.gethostname(), process=os.getpid()))

    def tell(self, **changes: Any) -> None:
        """Writes at once; where that fails (a full disk, a reader on Windows), training matters more."""
        self.now = replace(self.now, updated=time.time(), **changes)
        self.written = time.monotonic()
        with suppress(OSError, WorkspaceError):
            write_json(self.path, self.now, durable=False, sealed=True)

    def beat(self, **changes: Any) -> None:
        """Writes if it has not done so for some seconds."""
        if time.monotonic() - self.written >= SECONDS_BETWEEN_BEATS:
            self.tell(**changes)


def read_status(folder: RunFolder) -> RunStatus | None:
    """None when nothing was told, or nothing that can be read."""
    try:
        return read_json(folder.status, RunStatus)
    except RecordError:
        return None


@contextmanager
def held(folder: RunFolder) -> Iterator[None]:
    """This process trains here, and no other. The lock goes with the process, however that ends.

    Raises WorkspaceError when another process trains in ``folder``.
    """
    from filelock import FileLock, Timeout

    make_folder(folder.root)
    refuse_folder(folder.lock)
    lock = FileLock(str(folder.lock))
    try:
        lock.acquire(timeout=PATIENCE)
    except Timeout:
        told = read_status(folder)
        who = f"process {told.process} on {told.host}" if told else "another process"
        raise WorkspaceError(
            f"{folder.root} is being trained by {who}; wait for it (`autoseg status`) or stop it first"
        ) from None
    try:
        yield
    finally:
        lock.release()


def is_held(folder: RunFolder) -> bool:
    """Whether a process, on this machine or on one that shares the disk, trains in ``folder``."""
    from filelock import FileLock, Timeout

    if not folder.lock.is_file():
        return False
    lock = FileLock(str(folder.lock))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except (OSError, NotImplementedError):  # another user's folder, or a disk without locks: a sign of life will do
        told = read_status(folder)
        return told is not None and time.time() - told.updated < SIGN_OF_LIFE
    lock.release()
    return False
