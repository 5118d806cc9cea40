"""Progress that a person can read: a bar with time left on a terminal, plain log lines anywhere else."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

Item = TypeVar("Item")
LOG = logging.getLogger("autoseg")
CENTURY = 100 * 365.25 * 24 * 3600  # seconds
SECONDS_BETWEEN_LINES = 10.0
SECONDS_BETWEEN_LOOKS = {True: 1.0, False: 30.0}  # at items under way, on a terminal and elsewhere
PROGRESS = "progress"
"""Attribute of a log record that tells programs how far the work is: a dictionary."""
BAR = "{desc}:{percentage:3.0f}%|{bar}| {n:.1f} of {total}, {elapsed}, {remaining} left{postfix}"


@dataclass
class Display:
    """Mutable: what holds for the whole process; the command line sets it."""

    bars: bool = True
    """Whether a terminal shows bars: not to who asked for silence, or for lines that a program reads."""


DISPLAY = Display()


def shows_bars() -> bool:
    """Whether a person looks at a terminal."""
    return DISPLAY.bars and sys.stderr.isatty()


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
    if shows_bars():
        from tqdm import tqdm

        yield from tqdm(items, total=total, desc=what, leave=False)
        return
    start = last = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES and done < total:
            last, left = now, (now - start) / done * (total - done)
            LOG.info("%s: %d of %d, %s left", what, done, total, duration(left), extra=told(what, done, total, left))


def _looked_at(items: Iterable[Item], total: int, what: str, reached: Callable[[], Reached]) -> Iterator[Item]:
    terminal, start, done = shows_bars(), time.monotonic(), 0

    def line() -> None:
        now = reached()
        passed = time.monotonic() - start
        left = passed / now.items * (total - now.items) if now.items else None
        said = "" if left is None else f", {duration(left)} left"
        doing = now.doing and f", {now.doing}"
        LOG.info(
            "%s: %d of %d done%s%s",
            what,
            done,
            total,
            doing,
            said,
            extra=told(what, now.items, total, left, doing=now.doing),
        )

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


def told(what: str, done: float, total: float | None, left: float | None, **more: Any) -> dict[str, Any]:
    """``extra`` of a log record, for programs: how many of ``total`` are done, and seconds ``left`` (None: unknown)."""
    return {PROGRESS: {"what": what, "done": done, "total": total, "seconds_left": left} | more}


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


def clock_time(seconds: float, now: float | None = None) -> str:
    """When it is so many ``seconds`` from ``now`` (since 1970): ``14:32``, with the date where it is another day's."""
    now = time.time() if now is None else now
    then = time.localtime(now + min(seconds, CENTURY))  # beyond some thousand years the system knows no date
    today = time.localtime(now)[:3] == then[:3]
    return time.strftime("%H:%M" if today else "%Y-%m-%d %H:%M", then)
