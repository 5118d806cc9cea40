"""Whatever a name is, nothing of the workspace lies outside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from autoseg.cli import main
from autoseg.core.geometry import Geometry
from autoseg.errors import WorkspaceError
from autoseg.newest import newest_model
from autoseg.parts.readers import write_labels
from autoseg.workspace import Workspace, run_at

ELSEWHERE = ("../x", "..", "/etc", "a/b", "a\\b", "", ".", ".hidden", "a\0b", "\ud800", "con", "x" * 300)
DATASET = "Dataset001_A"
PLACES: dict[str, Callable[[Workspace, str], object]] = {
    "dataset": lambda workspace, name: workspace.dataset_folder(name),
    "prepared": lambda workspace, name: workspace.dataset_folder(DATASET).prepared(name),
    "priors": lambda workspace, name: workspace.dataset_folder(DATASET).priors(name),
    "runs": lambda workspace, name: workspace.dataset_folder(DATASET).runs(name),
    "kept": lambda workspace, name: workspace.dataset_folder(DATASET).run("2d", "0").kept(name),
    "newest": lambda workspace, name: newest_model(workspace, name or ".", None),
    "newest of": lambda workspace, name: newest_model(workspace, DATASET, name or "."),
}


@pytest.mark.parametrize("place", list(PLACES))
@pytest.mark.parametrize("name", ELSEWHERE, ids=ascii)
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, place: str, name: str) -> None:
    with pytest.raises(WorkspaceError, match="cannot be the name of a file"):
        PLACES[place](Workspace(tmp_path), name)


@pytest.mark.parametrize("fold", ["../../../x", "a/b", "\0", "x" * 300])
def test_a_fold_is_no_path(tmp_path: Path, fold: str) -> None:
    with pytest.raises(WorkspaceError):
        Workspace(tmp_path).dataset_folder(DATASET).run("2d", fold)


def test_folders_that_were_not_made_here_are_no_datasets(tmp_path: Path) -> None:
    for name in (DATASET, ".hidden", "a:b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "dataset.json").touch()
    assert Workspace(tmp_path).dataset_names() == [DATASET]


def test_a_workspace_that_would_write_among_the_images_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind in ("images", "labels"):
        for key in ("a", "b", "c"):
            array = np.zeros((6, 8, 8), np.uint8)
            array[2:4, 2:5, 2:6] = 1
            write_labels(array, Geometry.plain(array.shape, (1.0, 1.0, 1.0)), tmp_path / f"mine/{kind}/{key}.nii.gz")
    for name in ("plan.json", "fingerprint.json"):
        (tmp_path / "mine" / name).write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    for workspace in (".", str(tmp_path), "link"):
        for command in ("plan_and_preprocess", "fingerprint", "plan", "preprocess"):
            assert main([command, "mine", "--workspace", workspace]) == 2
            assert "mine holds the images" in (told := capsys.readouterr().err) and "another --workspace" in told
    assert sorted(tmp_path.rglob("*")) == before
    assert {(tmp_path / "mine" / name).read_text() for name in ("plan.json", "fingerprint.json")} == {"mine"}


@pytest.mark.parametrize("command", ["plan_and_preprocess", "plan", "status"])
def test_a_folder_of_datasets_is_no_workspace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    (tmp_path / DATASET / "imagesTr").mkdir(parents=True)
    described = '{"channel_names": {"0": "CT"}, "labels": {"background": 0, "a": 1}, "file_ending": ".nii.gz"}'
    (tmp_path / DATASET / "dataset.json").write_text(described)
    monkeypatch.chdir(tmp_path)
    assert main([command, DATASET, "--workspace", "."]) == 2
    assert "choose another --workspace" in capsys.readouterr().err
    assert (tmp_path / DATASET / "dataset.json").read_text() == described


def test_a_dataset_in_a_folder_called_runs_is_no_training(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "Dataset004_X"
    folder.mkdir(parents=True)
    with pytest.raises(WorkspaceError, match="lies in no dataset"):
        run_at(folder)
    (folder / "dataset.json").write_text("{}")
    assert run_at(folder) is None
