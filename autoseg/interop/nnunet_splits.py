"""nnU-Net's splits_final.json: who trains and who validates in every fold."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ..errors import DatasetError
from ..folds import Folds, given_folds

NAME = "splits_final.json"


def read_splits(path: Path, keys: Collection[str]) -> Folds:
    """The folds in ``path``. Cases that no fold names are not used, as in nnU-Net.

    Raises DatasetError for a file of another kind, and for folds that cannot be right or name other cases than
    ``keys``.
    """
    try:
        listed = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DatasetError(f"{path}: not readable as JSON ({error})") from None
    if not isinstance(listed, list) or not listed:
        raise DatasetError(f'{path}: expected a list of folds, each {{"train": [...], "val": [...]}}')
    return given_folds((_fold(entry, number, path) for number, entry in enumerate(listed)), keys, str(path))


def _fold(entry: Any, number: int, path: Path) -> tuple[list[str], list[str]]:
    if not isinstance(entry, dict) or not (_names(entry.get("train")) and _names(entry.get("val"))):
        raise DatasetError(f'{path}: fold {number} must be {{"train": [...], "val": [...]}} with names of cases')
    return entry["train"], entry["val"]


def _names(listed: Any) -> bool:
    return isinstance(listed, list) and bool(listed) and all(isinstance(key, str) for key in listed)
