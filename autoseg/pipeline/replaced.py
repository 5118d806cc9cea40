"""What may be replaced: files that autoseg wrote itself, which is told by what stands in them."""

from __future__ import annotations

import os
from pathlib import Path

from ..core.files import refuse_unwritable, regular_file, remove_unfinished
from ..core.json_text import read_json_value
from ..errors import AutosegError, UsageError

SCORES = {"overall", "labels", "cases"}  # names in scores.json, of any version
COLUMNS = b"case,label,dice"  # begin scores.csv


def refuse_others_scores(folder: Path) -> None:
    """Raises UsageError for a scores.json or scores.csv in ``folder`` that `evaluate` did not write."""
    for path, is_ours in ((folder / "scores.json", _is_summary), (folder / "scores.csv", _is_table)):
        if os.path.lexists(path) and not is_ours(path):
            raise UsageError(f"{path} is not what `autoseg evaluate` writes there; move it away, or give another -o")


def refuse_existing(path: Path) -> None:
    """Raises UsageError where ``path`` exists already, OSError where it cannot be written."""
    if os.path.lexists(path):
        raise UsageError(f"{path} exists already; give -o another name, or take it away")
    folder = path.absolute().parent
    refuse_unwritable(folder)
    if folder.is_dir():
        remove_unfinished(folder)


def _is_summary(path: Path) -> bool:
    try:
        value = read_json_value(path)
    except AutosegError:
        return False
    return isinstance(value, dict) and value.keys() >= SCORES


def _is_table(path: Path) -> bool:
    try:
        with regular_file(path) as file:
            return file.read(len(COLUMNS)) == COLUMNS
    except OSError:
        return False
