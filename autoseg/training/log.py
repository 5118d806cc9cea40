"""What a training tells while it runs: a row of metrics.csv and a line per epoch, a bar on a terminal."""

from __future__ import annotations

import csv
import logging
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.files import atomic_file, make_folder
from ..errors import WorkspaceError

if TYPE_CHECKING:
    from tqdm import tqdm

LOG = logging.getLogger("autoseg")


@dataclass
class MetricsTable:
    """Mutable: the rows of ``metrics.csv``, one per epoch."""

    path: Path
    rows: list[dict[str, str]]

    @classmethod
    def open(cls, path: Path, iteration: int) -> MetricsTable:
        """Rows written before, without those beyond ``iteration``: a resumed training writes these again.

        What cannot be read is left out: training goes by none of these numbers.
        """
        if not path.exists():
            return cls(path, [])
        try:
            with path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
        except (OSError, ValueError, csv.Error) as error:
            LOG.warning("%s is damaged (%s); it begins anew", path, error)
            return cls(path, [])
        whole = [row for row in rows if _is_whole(row)]
        if len(whole) < len(rows):
            LOG.warning("%s is damaged: %d of %d rows are left out", path, len(rows) - len(whole), len(rows))
        return cls(path, [row for row in whole if float(row["iteration"]) <= iteration])

    def add(self, row: dict[str, float]) -> None:
        """Appends a row and writes the file anew, complete at any moment; where that fails, the next time."""
        self.rows.append({name: f"{value:.6g}" for name, value in row.items()})
        names = list(dict.fromkeys(name for written in self.rows for name in written))
        try:
            with atomic_file(self.path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, names)
                writer.writeheader()
                writer.writerows(self.rows)
        except (OSError, WorkspaceError) as error:
            LOG.warning("%s could not be written (%s)", self.path, error)


def _is_whole(row: dict[str, str]) -> bool:
    """Whether there is a number in every column, or nothing where the column came later."""
    try:
        return all(isinstance(float("nan" if text == "" else text), float) for text in row.values()) and math.isfinite(
            float(row["iteration"])
        )
    except (KeyError, TypeError, ValueError):
        return False


class _LogFile(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """A disk that is full for a while must not fill the terminal with tracebacks: training matters more."""


@contextmanager
def written_to(path: Path) -> Iterator[None]:
    """Everything autoseg logs inside also goes to ``path``, appended, with the time; nowhere if that is no file."""
    make_folder(path.parent)
    try:
        handler: logging.Handler = _LogFile(path, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        LOG.warning("no log is written: %s cannot be opened (%s)", path, error.strerror or error)
        handler = logging.NullHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    LOG.addHandler(handler)
    level = LOG.level
    LOG.setLevel(logging.INFO)  # a notebook that never set up logging still gets a whole log file
    try:
        yield
    finally:
        LOG.setLevel(level)
        LOG.removeHandler(handler)
        handler.close()


@contextmanager
def bar(progress: float, hidden: bool = False) -> Iterator[tqdm]:
    """A bar with time left that begins at ``progress`` (0..1), for ``advance``; log lines are written above it.

    It counts the share of the budget and not iterations, since a budget may be a time. Invisible unless on a terminal,
    and where it is to be ``hidden``.
    """
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    shape = "{desc} {percentage:3.0f}%|{bar}| {elapsed} so far, {remaining} left{postfix}"
    hidden = hidden or not sys.stderr.isatty()
    start = min(100.0, 100 * progress)
    with tqdm(total=100.0, initial=start, desc="training", bar_format=shape, leave=False, disable=hidden) as shown:
        if hidden:
            yield shown
            return
        with logging_redirect_tqdm([LOG]):
            yield shown


def advance(shown: tqdm, progress: float, iteration: int, loss: float | None) -> None:
    """Moves the bar to ``progress`` (0..1)."""
    if shown.disable:
        return
    shown.set_postfix_str(f"iteration {iteration}" + ("" if loss is None else f", loss {loss:.3f}"), refresh=False)
    shown.update(min(100.0, 100 * progress) - shown.n)
