"""Where the time of a piece of work goes, and how far it is. A stage inside another one counts by itself, so that the
stages add up."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class StoppedError(Exception):
    """Nobody waits for the result of this work any more."""


class Clock:
    """Seconds per stage, and patches. One thread at a time may use it, but any may look at it."""

    def __init__(self, stopped: threading.Event | None = None) -> None:
        """Once ``stopped`` is set, no stage begins any more: StoppedError is raised instead."""
        self._stopped = stopped
        self.seconds: dict[str, float] = {}
        self.failed: str | None = None
        """The innermost stage that an exception ended."""
        self.patches = 0
        """That were predicted."""
        self.patches_wanted = 0
        """As far as is known yet: a cascade's first stage comes before the second."""
        self._open: list[str] = []
        self._since = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Counts what happens inside as ``name``; the stage around it, if any, waits."""
        if self._stopped is not None and self._stopped.is_set():
            raise StoppedError
        self._book()
        self._open.append(name)
        self.seconds.setdefault(name, 0.0)
        try:
            yield
        except BaseException:
            self.failed = self.failed or name
            raise
        finally:
            self._book()
            self._open.pop()

    def _book(self) -> None:
        now = time.perf_counter()
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now
