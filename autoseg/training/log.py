"""What a training tells while it runs: a row of metrics.csv and a line per epoch, a bar on a terminal."""

from __future__ import annotations

import logging
import math
import platform
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .. import __version__
from ..core.files import atomic_file, make_folder
from ..core.mishaps import explained, printable
from ..core.progress import shows_bars
from ..errors import StoppedError, WorkspaceError

if TYPE_CHECKING:
    from pandas import DataFrame
    from tqdm import tqdm

LOG = logging.getLogger("autoseg")
COUNTS = {"epoch": int, "iteration": int}  # columns that every row has

CALLED_BEFORE = {"share_waiting": "share_waiting_for_data"}  # until version 0.1


@dataclass
class MetricsTable:
    """Mutable: the rows of ``metrics.csv``, one per epoch."""

    path: Path
    rows: list[dict[str, float]]
    """Column to its number; NaN where there is none."""

    @classmethod
    def open(cls, path: Path, iteration: int) -> MetricsTable:
        """Rows written before, without those beyond ``iteration``: a resumed training writes these again.

        What cannot be read is left out: training goes by none of these numbers.
        """
        if not path.exists():
            return cls(path, [])
        try:
            rows, damaged = _read(path)
        except (OSError, ValueError) as error:
            LOG.warning("%s is damaged (%s); it begins anew", path, error)
            return cls(path, [])
        if damaged:
            LOG.warning("%s is damaged: %d of %d rows are left out", path, damaged, damaged + len(rows))
        rows = rows.rename(columns=CALLED_BEFORE)
        return cls(path, [row for row in rows.to_dict("records") if row["iteration"] <= iteration])

    def add(self, row: dict[str, float]) -> None:
        """Appends a row and writes the file anew, complete at any moment; where that fails, the next time."""
        from pandas import DataFrame

        self.rows.append(row)
        try:
            with atomic_file(self.path) as temporary:
                table = DataFrame(self.rows).astype(COUNTS)
                table.to_csv(temporary, index=False, float_format="%.6g", na_rep="nan", lineterminator="\r\n")
        except (OSError, WorkspaceError) as error:
            LOG.warning("%s could not be written (%s)", self.path, error)


def _read(path: Path) -> tuple[DataFrame, int]:
    """The rows in which every column holds a number, or nothing, and how many others there are.

    Raises OSError, or ValueError for what is no table.
    """
    from pandas import read_csv, to_numeric

    too_long: list[list[str]] = []
    # With the names of the columns as a row like any other, one that is too long is told from its first on.
    cells = read_csv(path, header=None, dtype=str, keep_default_na=False, engine="python", on_bad_lines=too_long.append)
    text = cells[1:].set_axis(cells.iloc[0].tolist(), axis=1)
    numbers = text.apply(to_numeric, errors="coerce").astype(float)
    whole = (numbers.notna() | text.isin(["", "nan"])).all(axis=1)  # a row that is too short has None at its end
    counts = numbers.reindex(columns=list(COUNTS))
    whole &= counts.abs().lt(math.inf).all(axis=1)
    return numbers[whole], len(too_long) + int((~whole).sum())


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
    _note(handler, logging.INFO, _program())
    LOG.addHandler(handler)
    level = LOG.level
    LOG.setLevel(logging.INFO)  # a notebook that never set up logging still gets a whole log file
    try:
        yield
    except (StoppedError, KeyboardInterrupt):
        _note(handler, logging.INFO, "stopped; the same command goes on from the last checkpoint")
        raise
    except BaseException as error:
        _note(handler, logging.ERROR, f"failed: {explained(error) or f'{type(error).__name__}: {error}'}")
        raise
    finally:
        LOG.setLevel(level)
        LOG.removeHandler(handler)
        handler.close()


def _note(handler: logging.Handler, level: int, said: str) -> None:
    """Only in the file: a terminal has its own line."""
    handler.handle(LOG.makeRecord(LOG.name, level, __file__, 0, printable(said), (), None))


def _program() -> str:
    """What runs, with what."""
    import torch

    versions = f"autoseg {__version__}, torch {torch.__version__}, Python {platform.python_version()}"
    return f"{versions}: {shlex.join(sys.argv)}"


@contextmanager
def bar(progress: float, hidden: bool = False) -> Iterator[tqdm]:
    """A bar with time left that begins at ``progress`` (0..1), for ``advance``; log lines are written above it.

    It counts the share of the budget and not iterations, since a budget may be a time. Invisible unless on a terminal,
    and where it is to be ``hidden``.
    """
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    shape = "{desc} {percentage:3.0f}%|{bar}| {elapsed} so far, {remaining} left{postfix}"
    hidden = hidden or not shows_bars()
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
