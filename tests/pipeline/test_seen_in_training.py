"""Whoever predicts the images that a model was trained on is told so; of others nothing is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoseg.bundle.manifest import Manifest
from autoseg.core.labels import ExclusiveLabels
from autoseg.core.records import write_json
from autoseg.data.dataset import Case, Dataset
from autoseg.data.folds import Fold, Folds
from autoseg.pipeline.seen_in_training import seen_in_training, warning_of
from autoseg.workspace import DatasetFolder

KEYS = ("a", "b", "c")


@pytest.fixture
def files(tmp_path: Path) -> DatasetFolder:
    """Three cases in three folds; fold 0 trains on b and c."""
    files = DatasetFolder(tmp_path / "workspace" / "Dataset001_Made")
    cases = tuple(Case.of_files(key, [str(tmp_path / f"{key}_0000.nii.gz")], str(tmp_path / key)) for key in KEYS)
    labels = ExclusiveLabels({"background": 0, "organ": 1})
    write_json(files.dataset, Dataset("Dataset001_Made", str(tmp_path), ("MR",), labels, cases, ".nii.gz", "nnunet"))
    folds = [Fold(tuple(other for other in KEYS if other != key), (key,)) for key in KEYS]
    write_json(files.folds, Folds(tuple(folds)))
    files.run("2d", "0").root.mkdir(parents=True)
    files.selected.mkdir()
    write_json(files.selected_manifest, Manifest("Made", {"2d": ("0",), "3d": ("0",)}, {"2d": 1.0}))
    return files


def images(folder: Path, *keys: str) -> list[Case]:
    """Under names of their own, as whoever predicts gives them."""
    return [Case.of_files(f"patient_{key}", [str(folder / f"{key}_0000.nii.gz")]) for key in keys]


def test_what_a_fold_trained_on_is_known_by_its_files(files: DatasetFolder, tmp_path: Path) -> None:
    given = images(tmp_path, "a", "b", "elsewhere")
    run = files.run("2d", "0").root
    assert seen_in_training(run, None, given) == ["patient_b"]
    assert seen_in_training(files.runs("2d"), ["0", "1"], given) == ["patient_a", "patient_b"]
    assert seen_in_training(files.runs("2d"), ["all"], given) == ["patient_a", "patient_b"]
    assert seen_in_training(files.selected, None, given) == ["patient_b"]  # of its only fold
    assert seen_in_training(files.selected, ["1"], given) == ["patient_a"]


def test_a_link_to_an_image_is_that_image(files: DatasetFolder, tmp_path: Path) -> None:
    (tmp_path / "b_0000.nii.gz").touch()
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "new_0000.nii.gz").symlink_to(tmp_path / "b_0000.nii.gz")
    assert seen_in_training(files.run("2d", "0").root, None, images(tmp_path / "linked", "new")) == ["patient_new"]


def test_a_link_that_leads_to_itself_is_no_image_of_the_training(files: DatasetFolder, tmp_path: Path) -> None:
    loop = tmp_path / "c_0000.nii.gz"
    loop.symlink_to(loop)
    assert seen_in_training(files.run("2d", "0").root, None, images(tmp_path, "b")) == []


def test_nothing_is_said_where_nothing_is_known(files: DatasetFolder, tmp_path: Path) -> None:
    given = images(tmp_path, *KEYS)
    assert seen_in_training(tmp_path / "bundle.zip", None, given) == []
    assert seen_in_training(files.runs("2d"), None, given) == []  # no training of it has finished
    files.folds.unlink()
    assert seen_in_training(files.run("2d", "0").root, None, given) == []
    files.dataset.write_text("{")
    assert seen_in_training(files.run("2d", "all").root, None, given) == []


def test_the_warning_names_the_first_cases() -> None:
    told = warning_of(["a", "b", "c", "d"], 5)
    assert told.startswith("the model was trained on 4 of 5 cases (a, b, c, ...): ")
    assert "(a)" in warning_of(["a"], 1) and "1 case " in warning_of(["a"], 1)
