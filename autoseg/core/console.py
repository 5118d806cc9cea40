"""What one command says: text for people, or for programs one JSON object a line, of four kinds.

``progress``, ``message``, ``result`` and ``error``; the last line is the result or the error, and holds the exit code.
"""

from __future__ import annotations

import json
import logging
import math
import sys
from dataclasses import dataclass, field, is_dataclass
from os import PathLike, fspath
from typing import Any, TextIO

from .environment import leads
from .mishaps import printable
from .progress import PROGRESS
from .records import to_json


@dataclass
class Console:
    """Mutable: the result grows until the command has ended."""

    quiet: bool = False
    """Only warnings, errors and what was asked for."""
    programs: TextIO | None = None
    """Takes JSON in the place of everything else; None: people read."""
    fields: dict[str, Any] = field(default_factory=dict)
    """Of the result."""
    leads: bool = field(default_factory=leads)
    """Of several processes that do one thing, whether this one tells the result."""

    def result(self, text: str, /, **fields: Any) -> None:
        """What was asked for: ``text`` for people, ``fields`` (records, paths, numbers, ...) for programs."""
        if self.programs is None and self.leads:
            sys.stdout.write(text + "\n" * bool(text))
        self.fields |= fields

    def line(self, kind: str, **fields: Any) -> None:
        """At once, whole: whoever reads may be waiting. Only for programs. Raises OSError where nobody reads."""
        if self.programs is not None and (self.leads or kind != "result"):
            self.programs.write(json.dumps({"kind": kind} | plain(fields), allow_nan=False) + "\n")
            self.programs.flush()

    def handler(self, stream: TextIO) -> logging.Handler:
        """Where log records go, of people to ``stream``."""
        shown = _Lines(stream) if self.programs is None else _Objects(self)
        shown.setLevel(logging.WARNING if self.quiet else logging.INFO)
        return shown


def plain(value: Any) -> Any:
    """``value`` as JSON takes it: paths are text, numbers that are none (NaN, infinity) null."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(to_json(value))
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, PathLike):
        return fspath(value)
    return plain(value.item()) if hasattr(value, "item") else str(value)  # a number of numpy's


class _Quietly(logging.Handler):
    def handleError(self, record: logging.LogRecord) -> None:
        """Where a line cannot be written, the work goes on."""
        if not isinstance(sys.exc_info()[1], OSError | ValueError):
            super().handleError(record)


class _Lines(_Quietly, logging.StreamHandler):  # it takes no type in brackets in Python 3.10
    """Our own messages, not those of the libraries."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


class _Objects(_Quietly):
    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        try:
            reached = getattr(record, PROGRESS, None)
            if reached is None:
                self._console.line("message", level=record.levelname.lower(), text=record.getMessage())
            else:
                self._console.line(PROGRESS, **reached)
        except Exception:
            self.handleError(record)
