"""What a training tells about itself, and who may train where."""

import subprocess
import sys

import pytest

from autoseg.errors import WorkspaceError
from autoseg.run_folder import RunFolder
from autoseg.run_status import StatusFile, held, is_held, read_status

HOLD = """
import sys, time
from pathlib import Path
from autoseg.run_status import StatusFile, held
from autoseg.run_folder import RunFolder
folder = RunFolder(Path(sys.argv[1]))
with held(folder):
    StatusFile.of(folder).tell()
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
def test_one_process_trains_in_a_folder_and_its_death_frees_it(tmp_path):
    folder = RunFolder(tmp_path)
    assert not is_held(folder)
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        assert is_held(folder)
        with pytest.raises(WorkspaceError, match=f"process {process.pid} on"), held(folder):
            pass
    finally:
        process.kill()
        process.communicate()
    assert not is_held(folder)
    with held(folder):
        pass


def test_what_was_told_before_is_kept_but_the_error(tmp_path):
    folder = RunFolder(tmp_path)
    StatusFile.of(folder).tell(iteration=7, dice=0.5, error="broken", phase="failed")
    StatusFile.of(folder).tell(progress=0.25)
    told = read_status(folder)
    assert (told.iteration, told.dice, told.error, told.phase, told.progress) == (7, 0.5, None, "training", 0.25)


def test_beats_are_rare(tmp_path):
    folder = RunFolder(tmp_path)
    file = StatusFile.of(folder)
    file.beat(iteration=1)
    file.beat(iteration=2)
    assert read_status(folder).iteration == 1


def test_a_status_that_cannot_be_read_is_none(tmp_path):
    (tmp_path / "status.json").write_text("{")
    assert read_status(RunFolder(tmp_path)) is None


def test_a_status_that_was_changed_is_none(tmp_path):
    folder = RunFolder(tmp_path)
    StatusFile.of(folder).tell(iteration=7)
    folder.status.write_text(folder.status.read_text().replace('"iteration": 7', '"iteration": 9'))
    assert read_status(folder) is None


def test_a_folder_in_the_place_of_the_lock_is_named(tmp_path):
    folder = RunFolder(tmp_path)
    folder.lock.mkdir()
    assert not is_held(folder)
    with pytest.raises(WorkspaceError, match=r"\.lock is a folder"), held(folder):
        pass
