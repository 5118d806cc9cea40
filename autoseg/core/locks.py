"""One process at a time: the second waits, and says for whom. However the first one ends, its lock goes with it."""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .files import remove_unfinished

LOG = logging.getLogger("autoseg")


@contextmanager
def alone(lock: Path, doing: str) -> Iterator[None]:
    """What ``doing`` names is done by nobody else on the folder of the file ``lock``, on any machine that shares it.

    What killed processes left half written in that folder is removed. Where the disk knows no locks, nobody waits.
    """
    from filelock import FileLock, Timeout

    lock.parent.mkdir(parents=True, exist_ok=True)
    file, told = FileLock(str(lock)), lock.with_name(f"{lock.name}.json")
    try:
        try:
            file.acquire(timeout=0)
        except Timeout:
            LOG.info("waiting for %s, on %s at the moment", _who(told), lock.parent.name)
            file.acquire()
    except PermissionError:
        raise
    except (OSError, NotImplementedError) as error:
        LOG.warning("%s cannot be locked (%s): let no other command work there now", lock.parent, error)
        yield
        return
    try:
        with suppress(OSError):
            told.write_text(json.dumps({"doing": doing, "process": os.getpid(), "host": socket.gethostname()}))
        remove_unfinished(lock.parent)
        yield
    finally:
        with suppress(OSError):
            told.unlink()
        file.release()


def _who(told: Path) -> str:
    try:
        found = json.loads(told.read_text())
        return f"`autoseg {found['doing']}` (process {int(found['process'])} on {found['host']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
