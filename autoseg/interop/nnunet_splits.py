"""nnU-Net's splits_final.json: who trains and who validates in every fold."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from ..core.json_text import read_json_value
from ..data.folds import Folds, given_folds
from ..errors import DatasetError, RecordError
from .nnunet_json import refuse_large

NAME = "splits_final.json"
LARGEST = 8 << 20  # bytes; five folds of 10 000 cases have 2 MB


def read_splits(path: Path, keys: Collection[str]) -> Folds:
    """The folds in ``path``. Cases that no fold names are not used, as in nnU-Net.

    Raises DatasetError for a file of another kind, and for folds that cannot be right or name other cases than
    ``keys``.
    """
    try:
        refuse_large(path, LARGEST)
        listed = read_json_value(path)
    except RecordError as error:
        raise DatasetError(str(error)) from None
    if not isinstance(listed, list) or not listed:
        raise DatasetError(f'{path}: expected a list of folds, each {{"train": [...], "val": [...]}}')
    return given_folds((_fold(entry, number, path) for number, entry in enumerate(listed)), keys, str(path))


def _fold(entry: Any, number: int, path: Path) -> tuple[list[str], list[str]]:
    if not isinstance(entry, dict) or not (_names(entry.get("train")) and _names(entry.get("val"))):
        raise DatasetError(f'{path}: fold {number} must be {{"train": [...], "val": [...]}} with names of cases')
    return entry["train"], entry["val"]


def _names(listed: Any) -> bool:
    return isinstance(listed, list) and bool(listed) and all(isinstance(key, str) for key in listed)
