"""What `autoseg status` says of trainings, running or not."""

import json
import os
import socket
import time

import pytest

from autoseg.core.records import write_json
from autoseg.errors import StoppedError
from autoseg.pipeline.recorded import recorded
from autoseg.pipeline.status import all_runs, run_table
from autoseg.run_status import RunStatus
from autoseg.workspace import Workspace

DATASET = "Dataset001_A"


@pytest.fixture
def workspace(tmp_path):
    (tmp_path / DATASET).mkdir()
    (tmp_path / DATASET / "dataset.json").touch()
    return Workspace(tmp_path)


def folder(workspace, fold="0"):
    return workspace.dataset_folder(DATASET).run("2d", fold)


def test_a_running_training_is_told_from_one_that_was_killed(workspace):
    with recorded(folder(workspace)) as status:
        status.tell(progress=0.5, seconds_left=90.0, dice=0.7)
        (line,) = all_runs(workspace)
        assert (line.dataset, line.configuration, line.fold) == (DATASET, "2d", "0")
        assert (line.state, line.progress, line.seconds_left, line.dice) == ("training", 0.5, 90.0, 0.7)
        told = folder(workspace).status.read_bytes()
    folder(workspace).status.write_bytes(told)  # as a process leaves it that was killed: the lock is gone with it
    (line,) = all_runs(workspace)
    assert line.state == "killed"
    assert "goes on when the same command is given again" in run_table([line])


def test_however_a_training_ends_it_is_told(workspace):
    with recorded(folder(workspace, "0")):
        pass
    with pytest.raises(StoppedError), recorded(folder(workspace, "1")):
        raise StoppedError("asked to")
    with pytest.raises(OSError), recorded(folder(workspace, "2")):
        raise OSError("the disk is full")
    lines = all_runs(workspace)
    assert [(line.fold, line.state) for line in lines] == [("0", "finished"), ("1", "stopped"), ("2", "failed")]
    assert f"{DATASET} 2d fold 2: the disk is full" in run_table(lines)


def test_a_process_elsewhere_lives_while_it_gives_signs_of_life(workspace):
    for fold, age in (("0", 5.0), ("1", 500.0)):
        told = RunStatus("training", "another-" + socket.gethostname(), os.getpid(), time.time() - age)
        write_json(folder(workspace, fold).status, told)
    assert [line.state for line in all_runs(workspace)] == ["training", "killed"]


@pytest.mark.slow
def test_another_process_may_not_train_in_the_same_folder_and_its_error_is_not_recorded(workspace):
    with recorded(folder(workspace)):
        told = folder(workspace).status.read_bytes()
        with pytest.raises(Exception, match="is being trained by process"), recorded(folder(workspace)):
            pass
        assert folder(workspace).status.read_bytes() == told


GOOD = {"phase": "training", "host": "x", "process": 1, "updated": 5.0}


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b"\xff", b"[" * 100_000, b"1" * 5000, b"null",
        *(json.dumps(GOOD | change).encode() for change in (
            {"updated": 10**18}, {"updated": "x"}, {"progress": 10**18}, {"seconds_left": -1}, {"dice": [1]},
            {"phase": "\x1b[2J"}, {"error": {}}, {"process": 2**70},
        )),
    ],
)  # fmt: skip
def test_a_status_that_cannot_be_read_is_told_and_the_others_are_shown(workspace, content):
    for fold in ("0", "2"):
        with recorded(folder(workspace, fold)):
            pass
    folder(workspace, "1").root.mkdir()
    folder(workspace, "1").status.write_bytes(content)
    lines = all_runs(workspace)
    assert [line.state for line in lines] == ["finished", "unreadable", "finished"]
    text = run_table(lines)
    assert f"{DATASET} 2d fold 1: " in text and "status.json" in text and len(text) < 3000


@pytest.mark.parametrize("content", ["{", "[]", '{"overall": {"dice": {"mean": 1e300, "low": null, "high": null}}}'])
def test_scores_that_cannot_be_read_are_told(workspace, content):
    with recorded(folder(workspace)):
        pass
    folder(workspace).scores.parent.mkdir()
    folder(workspace).scores.write_text(content)
    (line,) = all_runs(workspace)
    assert line.state == "unreadable" and "scores.json" in line.error


def test_a_lock_that_is_a_folder_is_told(workspace):
    write_json(folder(workspace).status, RunStatus("training", socket.gethostname(), os.getpid(), time.time()))
    folder(workspace).lock.mkdir()
    (line,) = all_runs(workspace)
    assert line.state == "killed"  # nobody can hold such a lock


def test_no_text_of_a_file_reaches_the_terminal_as_a_command(workspace):
    told = RunStatus("failed", "x", 1, time.time(), error="\x1b[2J\nsecond line")
    write_json(folder(workspace).status, told)
    assert "\x1b" not in run_table(all_runs(workspace)) and "\nsecond line" in run_table(all_runs(workspace))


def test_only_the_dataset_asked_for_is_listed(workspace):
    with recorded(folder(workspace)):
        pass
    assert len(all_runs(workspace, DATASET)) == 1
    assert all_runs(workspace, "Dataset002_B") == []
