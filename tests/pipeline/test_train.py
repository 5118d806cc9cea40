"""Training a fold through the pipeline: extending, stopping early, refusing."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from autoseg.errors import TrainingError
from autoseg.pipeline.decide import Request
from autoseg.pipeline.demo import NAME, make_dataset
from autoseg.pipeline.plan_and_preprocess import plan_and_preprocess
from autoseg.pipeline.status import all_runs
from autoseg.pipeline.train import train
from autoseg.settings import RunSettings
from autoseg.training.state import iteration_of
from autoseg.workspace import DatasetFolder, RunFolder, Workspace

SETTINGS = RunSettings(device="cpu", threads=1)
SMALL = ("patch_size=8,32,32", "network.features=[4,8,8]", "training.iterations_per_epoch=3", "mirror_axes=[]")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with fold 0 of a very small network trained for two epochs."""
    root = tmp_path_factory.mktemp("train")
    raw = make_dataset(root / NAME, cases=5, tests=0)
    workspace = Workspace(root / "workspace")
    request = Request(planner="tiny", changes=SMALL, settings=SETTINGS)
    plan_and_preprocess(raw, workspace, request, configurations=["3d_fullres"])
    train(workspace.dataset_folder(NAME), "0", epochs=2, settings=SETTINGS)
    return root / "workspace"


@pytest.fixture
def files(trained: Path, tmp_path: Path) -> DatasetFolder:
    """A copy of it."""
    shutil.copytree(trained, tmp_path / "workspace")
    return Workspace(tmp_path / "workspace").dataset_folder(NAME)


def fold(files: DatasetFolder) -> RunFolder:
    return files.run("3d_fullres", "0")


def epochs(files: DatasetFolder) -> list[int]:
    with fold(files).metrics.open(newline="") as file:
        return [int(row["epoch"]) for row in csv.DictReader(file)]


def test_a_finished_fold_is_extended_only_when_asked(files: DatasetFolder) -> None:
    before, scored = fold(files).weights.read_bytes(), fold(files).scores.stat().st_mtime_ns
    train(files, "0", epochs=4, settings=SETTINGS)
    assert fold(files).weights.read_bytes() == before
    train(files, "0", epochs=4, extend=True, settings=SETTINGS)
    assert iteration_of(fold(files).weights) == 12 and epochs(files) == [1, 2, 3, 4]
    assert fold(files).scores.stat().st_mtime_ns > scored
    assert json.loads(fold(files).effective.read_text())["configurations"]["3d_fullres"]["training"]["epochs"] == 4
    after = fold(files).weights.stat().st_mtime_ns
    train(files, "0", epochs=4, extend=True, settings=SETTINGS)
    assert fold(files).weights.stat().st_mtime_ns == after


def test_of_a_finished_fold_one_checkpoint_is_kept(trained: Path) -> None:
    kept = Workspace(trained).dataset_folder(NAME).run("3d_fullres", "0").checkpoints
    assert [path.stem for path in kept.iterdir()] == ["iteration_00000006"]


def test_without_its_checkpoint_a_finished_fold_cannot_be_extended(files: DatasetFolder) -> None:
    shutil.rmtree(fold(files).checkpoints)
    before = fold(files).weights.read_bytes()
    with pytest.raises(TrainingError, match="its last checkpoint is gone"):
        train(files, "0", epochs=4, extend=True, settings=SETTINGS)
    assert fold(files).weights.read_bytes() == before and fold(files).scores.exists()


def test_whole_validation_cases_end_a_training_that_no_longer_gains(files: DatasetFolder) -> None:
    rules = ["training.patience=1", "training.ema_decay=0.5", "optimizer.learning_rate=1e-9"]
    train(files, "1", epochs=500, changes=rules, settings=SETTINGS)
    run = files.run("3d_fullres", "1")
    with run.metrics.open(newline="") as file:
        looks = [float(row["dice_volumes"]) for row in csv.DictReader(file)]
    assert 3 <= len(looks) < 10 and all(0 < look < 1 for look in looks)  # an untrained network marks something
    assert run.scores.exists()


def test_a_terminated_command_says_how_to_go_on_and_status_knows(files: DatasetFolder) -> None:
    workspace = files.root.parent
    words = ["train", NAME, "2", "--epochs", "100000", "--threads", "1", "--workspace", str(workspace)]
    process = subprocess.Popen([sys.executable, "-m", "autoseg", *words], stderr=subprocess.PIPE, text=True)
    run, limit = files.run("3d_fullres", "2"), time.monotonic() + 60
    while not run.metrics.exists():
        assert process.poll() is None and time.monotonic() < limit
        time.sleep(0.05)
    assert [line.state for line in all_runs(Workspace(workspace), NAME)] == ["finished", "training"]
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "to go on, run the same command again" in said
    assert [line.state for line in all_runs(Workspace(workspace), NAME)] == ["finished", "stopped"]
    assert len(list(run.checkpoints.iterdir())) == 1
