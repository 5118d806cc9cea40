"""Which model was made last, however its files were copied since."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from autoseg.core.records import write_json
from autoseg.errors import WorkspaceError
from autoseg.newest import Made, newest_model, note_made
from autoseg.workspace import Workspace

NAME = "Dataset001_A"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Two configurations and a selection, files all of one time but one."""
    found = Workspace(tmp_path)
    files = found.dataset_folder(NAME)
    files.root.mkdir()
    files.dataset.touch()
    for name, at in (("2d", 300.0), ("3d_fullres", 200.0)):
        run = files.run(name, "0")
        run.root.mkdir(parents=True)
        run.weights.touch()
        write_json(run.made, Made(at), sealed=True)
        os.utime(run.weights, (1000 - at, 1000 - at))  # as a copy made in another order has it
    return found


def test_the_recorded_time_decides_and_not_that_of_the_file(workspace: Workspace) -> None:
    files = workspace.dataset_folder(NAME)
    assert newest_model(workspace) == files.runs("2d")
    assert newest_model(workspace, NAME, "3d_fullres") == files.runs("3d_fullres")
    note_made(files.run("3d_fullres", "0").made)
    assert newest_model(workspace, NAME) == files.runs("3d_fullres")


def test_that_there_are_several_is_told(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "autoseg"):
        newest_model(workspace, NAME)
        assert f"{NAME}: the newest model is taken, 2d; -c or -m chooses another (3d_fullres)" in caplog.text
        caplog.clear()
        newest_model(workspace, NAME, "2d")
    assert not caplog.text


def test_a_selection_is_a_model_unless_a_configuration_is_named(workspace: Workspace) -> None:
    files = workspace.dataset_folder(NAME)
    files.selected.mkdir()
    files.selected_manifest.touch()
    note_made(files.selected_made)
    assert newest_model(workspace) == files.selected
    assert newest_model(workspace, NAME, "2d") == files.runs("2d")


@pytest.mark.parametrize("damage", ["", "{", '{"at": -1}', None])
def test_without_a_record_the_file_tells(workspace: Workspace, damage: str | None) -> None:
    files = workspace.dataset_folder(NAME)
    record = files.run("3d_fullres", "0").made
    record.unlink() if damage is None else record.write_text(damage)
    assert newest_model(workspace) == files.runs("3d_fullres")  # 800 s by its file, against 300


def test_nothing_trained_is_an_error_that_says_what_to_do(workspace: Workspace) -> None:
    with pytest.raises(WorkspaceError, match="autoseg train"):
        newest_model(workspace, NAME, "3d_lowres")
