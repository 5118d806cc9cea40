"""nnU-Net's splits are read as they are; what does not fit the cases is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autoseg.data.folds import Fold
from autoseg.errors import DatasetError
from autoseg.interop.nnunet_splits import read_splits

KEYS = ("a", "b", "c", "d")


def read(content: Any, folder: Path) -> tuple[Fold, ...]:
    path = folder / "splits_final.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_splits(path, KEYS).folds


def test_every_fold_has_the_cases_that_the_file_names(tmp_path: Path) -> None:
    listed = [{"train": ["b", "a"], "val": ["c"]}, {"train": ["c", "d"], "val": ["a", "b"]}]
    assert read(listed, tmp_path) == (Fold(("b", "a"), ("c",)), Fold(("c", "d"), ("a", "b")))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not readable as JSON"),
        ({}, "expected a list of folds"),
        ([], "expected a list of folds"),
        ([{"train": ["a"], "val": ["b"]}, {"train": ["a"]}], "fold 1 must be"),
        ([{"train": ["a"], "val": []}], "fold 0 must be"),
        ([["a"], ["b"]], "fold 0 must be"),
        ([{"train": ["a", "x", "y"], "val": ["b"]}], "fold 0 names 2 cases that are not in this dataset: 'x'"),
        ([{"train": ["a", "b"], "val": ["b"]}], "fold 0: 'b' trains and validates"),
    ],
)
def test_what_does_not_fit_is_named(content: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=said):
        read(content, tmp_path)
