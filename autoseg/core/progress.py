"""Progress that a person can read: a bar with time left on a terminal, plain log lines anywhere else."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")
LOG = logging.getLogger("autoseg")
SECONDS_BETWEEN_LINES = 10.0
SECONDS_BETWEEN_LOOKS = {True: 1.0, False: 30.0}  # at items under way, on a terminal and elsewhere
BAR = "{desc}:{percentage:3.0f}%|{bar}| {n:.1f} of {total}, {elapsed}, {remaining} left{postfix}"


@dataclass(frozen=True)
class Reached:
    """How far the work is, between two items."""

    items: float
    """Those done and the shares of those under way."""
    doing: str
    """What is under way, as ``patch 12 of 90``."""


def progress(
    items: Iterable[Item], total: int, what: str, reached: Callable[[], Reached] | None = None
) -> Iterator[Item]:
    """Passes the items through and shows how many of ``total`` are done and how long the rest will take.

    Where an item can take minutes, ``reached`` is asked how far it is, now and then and by another thread.
    """
    if reached is not None:
        yield from _looked_at(items, total, what, reached)
        return
    if sys.stderr.isatty():
        from tqdm import tqdm

        yield from tqdm(items, total=total, desc=what, leave=False)
        return
    start = last = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES and done < total:
            last = now
            LOG.info("%s: %d of %d, %s left", what, done, total, duration((now - start) / done * (total - done)))


def _looked_at(items: Iterable[Item], total: int, what: str, reached: Callable[[], Reached]) -> Iterator[Item]:
    terminal, start, done = sys.stderr.isatty(), time.monotonic(), 0

    def line() -> None:
        now = reached()
        passed = time.monotonic() - start
        left = f", {duration(passed / now.items * (total - now.items))} left" if now.items else ""
        LOG.info("%s: %d of %d done%s%s", what, done, total, now.doing and f", {now.doing}", left)

    if not terminal:
        with _every(SECONDS_BETWEEN_LOOKS[False], line):
            for item in items:
                yield item
                done += 1
        return
    from tqdm import tqdm

    with tqdm(total=total, desc=what, leave=False, bar_format=BAR) as bar:

        def redraw() -> None:
            now = reached()
            bar.n = min(float(total), max(bar.n, now.items))  # what turns out to be longer does not go back
            bar.set_postfix_str(now.doing)

        with _every(SECONDS_BETWEEN_LOOKS[True], redraw):
            yield from items


@contextmanager
def _every(seconds: float, show: Callable[[], None]) -> Iterator[None]:
    """Calls ``show`` by a thread of its own for as long as the block runs."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(seconds):
            show()

    looking = threading.Thread(target=look, name="progress", daemon=True)
    looking.start()
    try:
        yield
    finally:
        over.set()
        looking.join()


def duration(seconds: float) -> str:
    """Seconds as a person says them: ``8 s``, ``12 min``, ``3 h 20 min``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
