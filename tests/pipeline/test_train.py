"""Training a fold through the pipeline: extending, stopping early, refusing."""

from __future__ import annotations

import csv
import gc
import importlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from autoseg.cli import main
from autoseg.core.records import read_json, write_json
from autoseg.errors import AutosegError, DatasetError, TrainingError
from autoseg.evaluation.calibration import Calibration
from autoseg.evaluation.scores import Summary
from autoseg.parts.networks._unet import UNet
from autoseg.pipeline.demo import NAME, make_dataset
from autoseg.pipeline.make_plan import PlanRequest
from autoseg.pipeline.plan_and_preprocess import plan_and_preprocess
from autoseg.pipeline.plan_file import is_measured, is_untouched_draft, write_plan
from autoseg.pipeline.status import all_runs
from autoseg.pipeline.train import train
from autoseg.run_folder import RunFolder
from autoseg.settings import RunSettings
from autoseg.training.checkpoint import read_checkpoint
from autoseg.training.state import TrainingState, iteration_of
from autoseg.workspace import DatasetFolder, Workspace

train_module = importlib.import_module("autoseg.pipeline.train")
SETTINGS = RunSettings(device="cpu", threads=1)
SMALL = ("patch_size=8,32,32", "network.features=[4,8,8]", "training.iterations_per_epoch=3", "mirror_axes=[]")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with fold 0 of a very small network trained for two epochs."""
    root = tmp_path_factory.mktemp("train")
    raw = make_dataset(root / NAME, cases=5, tests=0)
    workspace = Workspace(root / "workspace")
    request = PlanRequest(planner="tiny", changes=SMALL, settings=SETTINGS)
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


def edited(path: Path, change: Callable[[Any], Any]) -> None:
    record = json.loads(path.read_text())
    record.pop("checksum", None)  # an edit that is meant
    path.write_text(json.dumps(change(record)))


def _fold(**changes: list[str]) -> Callable[[Any], Any]:
    def change(record: Any) -> Any:
        record["folds"][0] |= changes
        return record

    return change


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "fold", "said"),
    [
        (
            _fold(train=[]),
            "0",
            "no training cases .*Take back what was edited, or remove the file and run `autoseg plan",
        ),
        (_fold(train=["case_0"], validation=["case_0"]), "1", "trains and validates"),
        (_fold(validation=["nobody"]), "1", "fold 0 names 1 cases that are not in this dataset: 'nobody'"),
        (lambda record: record | {"folds": []}, "0", "no folds to validate on; train with fold `all`"),
        (lambda record: record | {"folds": []}, "cv", "no folds to validate on; train with fold `all`"),
        (lambda record: record, "00", "is unknown"),
        (lambda record: record, "²", "is unknown"),
    ],
)
def test_folds_that_cannot_be_trained_are_refused_at_once(
    files: DatasetFolder, change: Callable[[Any], Any], fold: str, said: str
) -> None:
    edited(files.folds, change)
    with pytest.raises(AutosegError, match=said):
        train(files, fold, epochs=9, settings=SETTINGS)


@pytest.mark.parametrize("file", ["dataset", "plan"])
def test_regions_that_no_prediction_can_give_back_are_not_trained(files: DatasetFolder, file: str) -> None:
    labels = {"kind": "regions", "regions": {"all": [1, 2], "part": [2]}, "class_order": [7, 9], "background": 0}
    edited(getattr(files, file), lambda record: record | {"labels": labels | {"ignore": None}})
    with pytest.raises(DatasetError, match=rf'{file}.json: .*Write "regions_class_order": \[1, 2\]'):
        train(files, "0", epochs=9, settings=SETTINGS)


@pytest.mark.parametrize("content", ["[]", "{", "null", '{"draft": true, "planner": []}', "[" * 100_000, '"\\ud800"'])
def test_whatever_lies_in_place_of_the_plan_is_kept_beside_the_new_one(files: DatasetFolder, content: str) -> None:
    planned = files.read_plan()
    files.plan.write_text(content)
    assert not is_measured(files, "measured") and not is_untouched_draft(files)
    write_plan(files, planned)
    assert files.read_plan() == planned and files.old_plan.read_text() == content


@pytest.mark.slow
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


@pytest.mark.slow
def test_whole_validation_cases_end_a_training_that_no_longer_gains(files: DatasetFolder) -> None:
    rules = ["training.patience=1", "training.ema_decay=0.5", "optimizer.learning_rate=1e-9"]
    train(files, "1", epochs=500, changes=rules, settings=SETTINGS)
    run = files.run("3d_fullres", "1")
    with run.metrics.open(newline="") as file:
        looks = [float(row["dice_volumes"]) for row in csv.DictReader(file)]
    assert 3 <= len(looks) < 10 and all(0 < look < 1 for look in looks)  # an untrained network marks something
    assert run.scores.exists()


@pytest.mark.slow
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


def scarce(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """From now on, memory does not suffice for more than ``most`` patches at once."""
    forward, maps = UNet.forward, UNet.maps

    def limited(network: UNet, images: torch.Tensor, function: Any) -> Any:
        if len(images) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return function(network, images)

    monkeypatch.setattr(UNet, "forward", lambda network, images: limited(network, images, forward))
    monkeypatch.setattr(UNet, "maps", lambda network, images: limited(network, images, maps))


def command(files: DatasetFolder, *words: str) -> int:
    workspace = str(files.root.parent)
    return main(["train", NAME, "0", "--device", "cpu", "--threads", "1", "--workspace", workspace, *words])


@pytest.mark.slow
def test_with_memory_for_one_patch_a_fold_is_trained_and_validated(
    files: DatasetFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scarce(monkeypatch, 1)
    shutil.rmtree(fold(files).root)
    assert command(files, "--epochs", "1") == 0
    said = capsys.readouterr().err
    assert "too little memory for iteration 1." in said and "a batch of 2 patches is computed in 2 parts" in said
    assert fold(files).scores.exists()


@pytest.mark.slow
def test_an_objective_of_ones_own_trains_a_fold_which_goes_on_with_its_teacher(
    files: DatasetFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(fold(files).root)
    words, trust = ("--set", "objective=own_parts.mean_teacher"), ("--trust", "own_parts")
    assert command(files, "--epochs", "1", *words) == 2
    said = capsys.readouterr().err
    assert "--trust own_parts" in said and "Traceback" not in said and not fold(files).root.exists()
    teachers = []
    for more in (("--epochs", "1"), ("--epochs", "2", "--extend")):
        assert command(files, *more, *words, *trust) == 0
        (path,) = fold(files).checkpoints.iterdir()
        content = read_checkpoint(path)
        assert list(content["objective"]) == [f"teacher.{name}" for name in content["network"]]
        teachers.append(torch.cat([value.flatten() for value in content["objective"].values()]))
    assert not torch.equal(*teachers) and fold(files).scores.exists()
    capsys.readouterr()
    assert command(files, "--epochs", "3", "--extend", *trust) == 2  # supervised it would be another training
    assert "was started with another plan" in capsys.readouterr().err


def test_with_memory_for_nothing_a_sentence_says_what_to_do(
    files: DatasetFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scarce(monkeypatch, 0)
    shutil.rmtree(fold(files).root)
    assert command(files, "--epochs", "1") == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said and said.strip().splitlines()[-1].startswith("autoseg train: the device has too")


@pytest.mark.slow
def test_when_validation_begins_nothing_of_the_training_is_alive(
    files: DatasetFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, validate = list[int](), train_module.validate_fold

    def look(*arguments: Any) -> None:
        found.append(sum(type(each) is TrainingState for each in gc.get_objects()))
        validate(*arguments)

    monkeypatch.setattr(train_module, "validate_fold", look)
    shutil.rmtree(fold(files).root)
    gc.disable()  # circles of references are not to be collected by chance
    try:
        train(files, "0", epochs=1, settings=SETTINGS)
    finally:
        gc.enable()
    assert found == [0]


@pytest.mark.slow
def test_validation_goes_by_patient_where_the_folds_name_them(files: DatasetFolder) -> None:
    folds = files.read_folds()
    patients = {key: f"patient of {key}" for split in folds.folds for key in split.validation}
    write_json(files.folds, replace(folds, patients=patients))
    fold(files).scores.unlink()
    train(files, "0", epochs=2, settings=SETTINGS)
    found = read_json(fold(files).scores, Summary)
    assert found.patients == {key: patients[key] for key in folds[0].validation}


@pytest.mark.slow
def test_probabilities_are_counted_at_validation_or_later_from_what_is_kept(
    files: DatasetFolder, caplog: pytest.LogCaptureFixture
) -> None:
    path, dataset = fold(files).calibration, files.read_dataset()
    written, found = path.read_bytes(), read_json(path, Calibration)
    scores = read_json(fold(files).scores, Summary)
    assert found.cases.keys() == scores.cases.keys() and found.cases
    for key, labels in found.cases.items():
        assert labels.keys() == dataset.labels.foreground.keys()
        for name, bins in labels.items():
            assert sum(bins.hits) == scores.cases[key][name]["reference_voxels"] > 0
    path.unlink()
    before = fold(files).scores.stat().st_mtime_ns
    train(files, "0", epochs=2, settings=SETTINGS)
    assert path.read_bytes() == written and fold(files).scores.stat().st_mtime_ns == before
    path.unlink()
    edited(files.dataset, lambda record: json.loads(json.dumps(record).replace("labelsTr", "gone")))
    train(files, "0", epochs=2, settings=SETTINGS)
    assert not path.exists() and "how well the probabilities are calibrated is not known" in caplog.text
