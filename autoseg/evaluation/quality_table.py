"""``quality.csv``: how far each label of each case agrees with itself, and the Dice that this lets expect.

It lies in a folder of predictions, those of a fold's validation cases among them. A case's rows are added in one step,
so that a run which is killed leaves those of all cases that it has finished; the last ones of a case count.
"""

from __future__ import annotations

import csv
import errno
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ..core.files import atomic_file, regular_file
from ..core.json_text import LARGEST
from ..core.names import short
from ..errors import RecordError
from .scores import NUMBER

QUALITY = "quality.csv"
COLUMNS = ("case", "label", "agreement", "fold_dice", "predicted_dice")
END = b"\r\n"


class Quality(NamedTuple):
    """Of one label of one case, all from 0 to 1; None: not known."""

    agreement: float | None
    """``inference.outputs.agreement``; None where no voxel of the label is predicted."""
    fold_dice: float | None = None
    """Mean Dice of any two folds; None where there is one."""
    predicted_dice: float | None = None
    """None where nothing was learned on a cross-validation, and for the cases of one."""


QualityTable = dict[str, dict[str, Quality]]
"""Case to label."""


def read_quality(path: Path, unfinished: bool = False) -> QualityTable:
    """Raises RecordError naming the line. ``unfinished``: a last line may have been cut off and is left out."""
    content = _content(path)
    if unfinished:
        content = content[: content.rfind(END) + len(END)] if END in content else b""
    try:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise RecordError(f"{path}: not readable as a table ({short(str(error), 200)})") from None
    if not rows and unfinished:
        return {}
    if not rows or tuple(rows[0]) != COLUMNS:
        found = short(", ".join(rows[0]), 200) if rows else "nothing"
        raise RecordError(f"{path}: its columns must be {', '.join(COLUMNS)}, found {found}")
    table: QualityTable = {}
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(COLUMNS):
            raise RecordError(f"{path}: line {number} has {len(row)} entries, expected {len(COLUMNS)}")
        table.setdefault(row[0], {})[row[1]] = Quality(*(_share(text, path, number) for text in row[2:]))
    return table


def add_case(path: Path, case: str, rows: Mapping[str, Quality]) -> None:
    """Adds the rows of one case to a table in one step. Raises OSError."""
    text = _text({case: dict(rows)}, head=False)
    with path.open("ab", buffering=0) as file:
        before = file.tell()
        if file.write(text) < len(text):
            file.truncate(before)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        os.fsync(file.fileno())


def write_quality(path: Path, table: Mapping[str, Mapping[str, Quality]]) -> None:
    """Writes all, by case."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(_text({case: dict(table[case]) for case in sorted(table)}, head=True))


def _content(path: Path) -> bytes:
    try:
        with regular_file(path) as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror or error})") from None
    if len(content) > LARGEST:
        raise RecordError(
            f"{path}: more than {LARGEST / 1e6:.0f} MB are too many for such a table; is it the right one?"
        )
    return content


def _share(text: str, path: Path, line: int) -> float | None:
    if not text:
        return None
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found <= 1:  # NaN is refused as well
        raise RecordError(f"{path}: line {line} holds {short(text, 40)!r}, where a number from 0 to 1 must stand")
    return found


def _text(table: QualityTable, head: bool) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=END.decode())
    if head:
        writer.writerow(COLUMNS)
    for case, rows in table.items():
        for label, quality in rows.items():
            writer.writerow((case, label, *("" if value is None else NUMBER % value for value in quality)))
    return text.getvalue().encode()
