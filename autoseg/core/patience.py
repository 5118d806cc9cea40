"""A limit to what a pattern may take: some of a few letters ((a+)+) try more ways than there are seconds."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from ..errors import AutosegError


@contextmanager
def at_most(seconds: float, otherwise: AutosegError) -> Iterator[None]:
    """Raises ``otherwise`` when the block takes longer. Only where signals arrive: in the main thread, on POSIX."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise otherwise

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
