"""What happens around a training: it is alone in its folder, and however it ends is told in its status file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..core.files import remove_unfinished
from ..core.mishaps import explained
from ..errors import StoppedError
from ..run_folder import RunFolder
from ..run_status import StatusFile, held
from ..training.log import written_to
from ..training.signals import outliving_save_signals


@contextmanager
def recorded(folder: RunFolder, is_main: bool = True) -> Iterator[StatusFile | None]:
    """Also writes the log. None for a process that does not lead the others: it leaves all that to the one that does.

    Raises WorkspaceError when another process trains in ``folder``.
    """
    if not is_main:
        with outliving_save_signals():
            yield None
        return
    with held(folder), written_to(folder.log), outliving_save_signals():
        remove_unfinished(folder.root)
        status = StatusFile.of(folder)
        status.tell()
        try:
            yield status
        except (StoppedError, KeyboardInterrupt):
            status.tell(phase="stopped")
            raise
        except Exception as error:
            status.tell(phase="failed", error=explained(error) or f"{type(error).__name__}: {error}")
            raise
        status.tell(phase="finished", progress=1.0, seconds_left=0.0)
