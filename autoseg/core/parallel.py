"""Ordered map over threads with bounded look-ahead.

Threads, not processes: reading, numpy, C libraries called directly and matrix products release the interpreter lock,
nothing is copied between workers, and an exception arrives with its traceback instead of as a dead worker.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

In = TypeVar("In")
Out = TypeVar("Out")


def ordered_map(
    function: Callable[[In], Out],
    items: Iterable[In],
    workers: int,
    ahead: int = 1,
    stopped: threading.Event | None = None,
    *,
    size: Callable[[In], float] = lambda item: 0.0,
    room: float = math.inf,
) -> Generator[Out, None, None]:
    """``function(item)`` for every item, in order; at most ``workers + ahead`` are under way or waiting.

    Nor are they more than what ``room`` holds, by the ``size`` of each result, which is known from its item; one that
    is larger is made alone.

    The first exception is raised at its item's turn; items not yet started are dropped then, and ``stopped`` is set:
    ``function`` may look at it to end early what nobody waits for any more.
    """
    if workers <= 1 and ahead <= 0:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(max(1, workers)) as pool:
        pending: deque[tuple[Future[Out], float]] = deque()
        held = 0.0

        def next_result() -> Out:  # no name here keeps it alive while its user goes on
            nonlocal held
            future, freed = pending.popleft()
            held -= freed
            return future.result()

        try:
            for item in items:
                taken = size(item)
                while pending and held + taken > room:
                    yield next_result()
                pending.append((pool.submit(function, item), taken))
                held += taken
                if len(pending) >= max(1, workers) + ahead:
                    yield next_result()
            while pending:
                yield next_result()
        except BaseException:
            if stopped is not None:
                stopped.set()
            raise
        finally:
            for future, _ in pending:
                future.cancel()
