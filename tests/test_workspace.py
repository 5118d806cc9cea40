"""Whatever a name is, nothing of the workspace lies outside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from autoseg.errors import WorkspaceError
from autoseg.workspace import Workspace

ELSEWHERE = ("../x", "..", "/etc", "a/b", "a\\b", "", ".", ".hidden", "a\0b", "\ud800", "con", "x" * 300)
DATASET = "Dataset001_A"
PLACES: dict[str, Callable[[Workspace, str], object]] = {
    "dataset": lambda workspace, name: workspace.dataset_folder(name),
    "prepared": lambda workspace, name: workspace.dataset_folder(DATASET).prepared(name),
    "priors": lambda workspace, name: workspace.dataset_folder(DATASET).priors(name),
    "runs": lambda workspace, name: workspace.dataset_folder(DATASET).runs(name),
    "kept": lambda workspace, name: workspace.dataset_folder(DATASET).run("2d", "0").kept(name),
    "newest": lambda workspace, name: workspace.newest_model(name or ".", None),
    "newest of": lambda workspace, name: workspace.newest_model(DATASET, name or "."),
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
