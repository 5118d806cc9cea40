"""A value of a record replaced by anything, for tests that ask whether a sentence or a working record comes of it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any
from zlib import crc32

from autoseg.errors import AutosegError, RecordError

LONGEST_MESSAGE = 2000
EVERY = 3  # the values that each place gets, beginning with another one at the next place; 1 takes minutes
HOSTILE: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3.5, -0.5, 1e308, -1e308, 1e-308, 1e-9, 2**31, 2**62, -(2**62),
    "", "x" * 30_000, "\ud800", "a\0b", "../../x", "/etc/x", ".hidden", "con", "²", "1", "\x1b[2J",
    [], {}, [[]], [None], [{}], [0], [1] * 3000,
    {"name": []}, {"name": "x" * 30_000}, {"name": "os.path"}, {"a": 1},
)  # fmt: skip
TEXTS = (
    b"NaN", b"-Infinity", b"1e400", b"1" * 400, b"9" * 5000, b"1" + b"0" * 30, b"[" * 100_000, b'{"a":' * 100_000,
    b"[" * 60 + b"]" * 60, b'{"a": 1, "a": 2}', b"\xff", b"", b"0x1", b"'a'",
)  # fmt: skip


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every value inside ``value``, lists and objects included; of long lists the first entry."""
    yield path
    steps = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for step, inner in steps:
        yield from places(inner, (*path, step))


def damaged(record: Any, path: tuple[str | int, ...]) -> Iterator[Any]:
    """``record`` with something else at ``path``; what is an entry of a list or an object is also dropped."""
    for value in HOSTILE[crc32(repr(path).encode()) % EVERY :: EVERY]:
        yield (
            value if not path else _at(record, path, lambda holder, step, value=value: holder.__setitem__(step, value))
        )
    if path:
        yield _at(record, path, lambda holder, step: holder.pop(step))
        yield _at(record, path, lambda holder, step: _more(holder))


def _more(holder: Any) -> None:
    if isinstance(holder, list):
        holder.append(holder[0])
    else:
        holder["surplus" * 1000] = 1


def _at(record: Any, path: tuple[str | int, ...], change: Callable[[Any, Any], Any]) -> Any:
    result = holder = copy.copy(record)
    for step in path[:-1]:
        holder[step] = copy.copy(holder[step])
        holder = holder[step]
    change(holder, path[-1])
    return result


def survive(work: Callable[[], Any], where: str, allowed: tuple[type[AutosegError], ...] = (RecordError,)) -> Any:
    """What ``work`` makes; None where it refuses, as long as the message is one."""
    try:
        return work()
    except allowed as error:
        message = str(error)
        assert where in message and len(message) < LONGEST_MESSAGE and message.encode()
        return None
