"""What is asked of a training from outside while it runs.

Ctrl-C, SIGTERM, or SIGHUP from a terminal that is closed: save and stop at once; the same command goes on later. A
second one does what it always did.
SIGUSR1, which a cluster sends some time before it kills a job: save now and go on.
A file ``stop`` in the run's folder: end well, which means a short final phase in which the learning rate falls to 0.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

SECONDS_BETWEEN_LOOKS = 2.0  # for the file: on a network drive a look is slow


@dataclass
class Signals:
    """Mutable: what was asked so far."""

    stop_file: Path | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    save: threading.Event = field(default_factory=threading.Event)
    looked: float = float("-inf")

    def due(self) -> bool:
        """Whether to save now; asked for once, it is true once."""
        wanted = self.save.is_set() or self.stop.is_set()
        self.save.clear()
        return wanted

    def finish(self) -> bool:
        """Whether the stop file has appeared; looks now and then only."""
        if self.stop_file is None or time.monotonic() - self.looked < SECONDS_BETWEEN_LOOKS:
            return False
        self.looked = time.monotonic()
        return self.stop_file.is_file()


@contextmanager
def outliving_save_signals() -> Iterator[None]:
    """SIGUSR1, which ends a program that does not know it, is ignored where there is nothing to save."""
    user = getattr(signal, "SIGUSR1", None)  # absent on Windows
    if user is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(user, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(user, before)


@contextmanager
def signals(stop_file: Path | None = None) -> Iterator[Signals]:
    """Listens while the block runs. Signals reach the main thread only."""
    asked = Signals(stop_file)
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    numbers = [signal.SIGINT, signal.SIGTERM]
    hangup = getattr(signal, "SIGHUP", None)  # absent on Windows
    if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:  # as under nohup
        numbers.append(hangup)
    before = {number: signal.getsignal(number) for number in numbers}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def stop(number: int, frame: FrameType | None) -> None:
        asked.stop.set()
        restore()

    for number in before:
        signal.signal(number, stop)
    user = getattr(signal, "SIGUSR1", None)  # absent on Windows
    former = None if user is None else signal.signal(user, lambda number, frame: asked.save.set())
    try:
        yield asked
    finally:
        restore()
        if user is not None:
            signal.signal(user, former)
