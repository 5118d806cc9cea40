"""Ordered map over threads with bounded look-ahead.

Threads, not processes: reading, numpy, blosc and matrix products release the interpreter lock where the time goes,
nothing is copied between workers, and an exception arrives with its traceback instead of as a dead worker.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
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
) -> Iterator[Out]:
    """``function(item)`` for every item, in order; at most ``workers + ahead`` are under way or waiting.

    The first exception is raised at its item's turn; items not yet started are dropped then, and ``stopped`` is set:
    ``function`` may look at it to end early what nobody waits for any more.
    """
    if workers <= 1 and ahead <= 0:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(max(1, workers)) as pool:
        pending: deque[Future[Out]] = deque()
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) >= max(1, workers) + ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        except BaseException:
            if stopped is not None:
                stopped.set()
            raise
        finally:
            for future in pending:
                future.cancel()
