"""DATASET on the command line finds one dataset or says what there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoseg.core.labels import ExclusiveLabels
from autoseg.core.records import write_json
from autoseg.data.dataset import Dataset
from autoseg.dataset_names import find_dataset
from autoseg.errors import UsageError
from autoseg.workspace import Workspace

NAME = "Dataset004_Hippocampus"


def remember(workspace: Workspace, name: str, folder: Path) -> None:
    labels = ExclusiveLabels({"background": 0, "a": 1})
    dataset = Dataset(name, str(folder), ("MRI",), labels, (), ".nii.gz", "nnunet")
    write_json(workspace.dataset_folder(name).dataset, dataset)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


def make_raw(folder: Path) -> Path:
    (folder / "imagesTr").mkdir(parents=True)
    return folder


@pytest.mark.parametrize("name", [NAME, "Hippocampus", "4", "004"])
def test_every_way_to_name_a_dataset_in_the_workspace(name: str, workspace: Workspace, tmp_path: Path) -> None:
    raw = make_raw(tmp_path / "elsewhere" / NAME)
    remember(workspace, NAME, raw)
    found = find_dataset(name, workspace, [tmp_path])
    assert (found.name, found.folder) == (NAME, raw)


@pytest.mark.parametrize("name", [NAME, "Hippocampus", "4"])
def test_every_way_to_name_a_folder_that_was_not_read_yet(name: str, workspace: Workspace, tmp_path: Path) -> None:
    raw = make_raw(tmp_path / NAME)
    found = find_dataset(name, workspace, [tmp_path])
    assert (found.name, found.folder) == (NAME, raw)


def test_a_path_is_a_dataset_whatever_its_name(workspace: Workspace, tmp_path: Path) -> None:
    raw = make_raw(tmp_path / "my scans")
    found = find_dataset(str(raw), workspace, [])
    assert (found.name, found.folder) == ("my scans", raw)


def test_the_workspace_folder_of_a_dataset_stands_for_the_dataset(workspace: Workspace, tmp_path: Path) -> None:
    remember(workspace, NAME, tmp_path / "raw" / NAME)
    found = find_dataset(str(workspace.root / NAME), workspace, [])
    assert (found.name, found.folder) == (NAME, tmp_path / "raw" / NAME)


def test_a_dataset_that_has_moved_is_found_in_its_new_place(workspace: Workspace, tmp_path: Path) -> None:
    remember(workspace, NAME, tmp_path / "gone" / NAME)
    raw = make_raw(tmp_path / "here" / NAME)
    assert find_dataset("4", workspace, [tmp_path / "here"]).folder == raw


def test_an_ambiguous_name_lists_what_it_may_mean(workspace: Workspace, tmp_path: Path) -> None:
    for name in (NAME, "Dataset005_Hippocampus"):
        remember(workspace, name, tmp_path / name)
    with pytest.raises(UsageError, match="may mean Dataset004_Hippocampus, Dataset005_Hippocampus"):
        find_dataset("Hippocampus", workspace, [])


def test_an_unknown_name_lists_what_there_is(workspace: Workspace, tmp_path: Path) -> None:
    remember(workspace, NAME, tmp_path / NAME)
    make_raw(tmp_path / "Dataset005_Prostate")
    with pytest.raises(UsageError, match="Known here: Dataset004_Hippocampus, Dataset005_Prostate"):
        find_dataset("Liver", workspace, [tmp_path])


def test_a_dataset_whose_record_is_gone_says_which_file(workspace: Workspace, tmp_path: Path) -> None:
    remember(workspace, NAME, tmp_path / NAME)
    workspace.dataset_folder(NAME).dataset.unlink()
    with pytest.raises(UsageError, match=r"Dataset004_Hippocampus/dataset.json is not there; put back a copy, or run"):
        find_dataset(NAME, workspace, [])
