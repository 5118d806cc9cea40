"""What happens around a training: it is alone in its folder, and however it ends is told in its status file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import StoppedError
from ..run_status import StatusFile, held
from ..training.requests import outliving_save_requests
from ..workspace import RunFolder


@contextmanager
def recorded(folder: RunFolder) -> Iterator[StatusFile]:
    """Raises WorkspaceError when another process trains in ``folder``."""
    with held(folder), outliving_save_requests():
        status = StatusFile.of(folder)
        status.tell()
        try:
            yield status
        except (StoppedError, KeyboardInterrupt):
            status.tell(phase="stopped")
            raise
        except Exception as error:
            status.tell(phase="failed", error=f"{type(error).__name__}: {error}")
            raise
        status.tell(phase="finished", progress=1.0, seconds_left=0.0)
