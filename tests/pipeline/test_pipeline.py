"""The commands, as a user types them: from a folder to scores; killed at any moment, nothing finished is done again."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from safetensors.numpy import load_file

import autoseg
from autoseg.cli import main
from autoseg.pipeline.demo import NAME, make_dataset

CASES, TESTS = 6, 1


def run(*words: str | Path, cwd: Path, code: int = 0) -> str:
    """What the command wrote; fails unless it returns ``code``. In this process, where torch has been loaded."""
    said, before = io.StringIO(), Path.cwd()
    os.chdir(cwd)
    try:
        with redirect_stdout(said), redirect_stderr(said):
            returned = main([*map(str, words), "--workspace", str(cwd / "workspace")])
    finally:
        os.chdir(before)
    assert returned == code, said.getvalue()
    return said.getvalue()


def kill_when(reached: Callable[[], bool], *words: str | Path, cwd: Path) -> None:
    """Starts the command in a process of its own and kills it, without any warning, once ``reached``."""
    command = [sys.executable, "-m", "autoseg", *map(str, words), "--workspace", str(cwd / "workspace")]
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    limit = time.monotonic() + 120
    while not reached():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < limit
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()


def shorten(workspace: Path, iterations: int) -> None:
    """Edits plan.json as a user would: so many iterations per epoch."""
    path = workspace / NAME / "plan.json"
    plan = json.loads(path.read_text())
    for configuration in plan["configurations"].values():
        configuration["training"]["iterations_per_epoch"] = iterations
    path.write_text(json.dumps(plan))


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("raw") / NAME, cases=CASES, tests=TESTS)


@pytest.fixture(scope="module")
def trained(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose workspace holds the dataset, planned, prepared, and fold 0 trained for a few iterations."""
    folder = tmp_path_factory.mktemp("trained")
    run("plan_and_preprocess", raw, "--planner", "tiny", "-c", "3d_fullres", cwd=folder)
    shorten(folder / "workspace", 12)
    run("train", NAME, "0", "--epochs", "1", cwd=folder)
    return folder


def test_one_folder_in_scored_predictions_out(trained: Path, raw: Path) -> None:
    said = run("predict", "-i", raw / "imagesTs", "-o", "predictions", "--probabilities", cwd=trained)
    assert "network" in said  # the table of times
    image = sitk.ReadImage(str(raw / "imagesTs" / f"demo_{CASES:03d}_0000.nii.gz"))
    labels = sitk.ReadImage(str(trained / "predictions" / f"demo_{CASES:03d}.nii.gz"))
    assert labels.GetSize() == image.GetSize()
    np.testing.assert_allclose(labels.GetSpacing(), image.GetSpacing())
    np.testing.assert_allclose(labels.GetDirection(), image.GetDirection())
    assert set(np.unique(sitk.GetArrayFromImage(labels))) <= {0, 1, 2}
    assert "organ" in run("evaluate", raw / "labelsTs", "predictions", "-o", "predictions", cwd=trained)
    scores = json.loads((trained / "predictions" / "scores.json").read_text())
    assert set(scores["labels"]) == {"organ", "lesion"}


def test_validation_cases_are_scored_whole(trained: Path) -> None:
    validation = trained / "workspace" / NAME / "runs" / "3d_fullres" / "fold_0" / "validation"
    folds = json.loads((trained / "workspace" / NAME / "folds.json").read_text())
    scores = json.loads((validation / "scores.json").read_text())
    assert sorted(scores["cases"]) == sorted(folds["folds"][0]["validation"])


@pytest.mark.slow
def test_a_finished_fold_is_not_trained_again(trained: Path) -> None:
    weights = trained / "workspace" / NAME / "runs" / "3d_fullres" / "fold_0" / "weights.safetensors"
    before = weights.stat().st_mtime_ns
    assert "has finished" in run("train", NAME, "0", cwd=trained)
    assert weights.stat().st_mtime_ns == before


@pytest.mark.slow
def test_the_api_gives_back_the_kind_of_image_it_was_given(trained: Path, raw: Path) -> None:
    model = autoseg.Model.read(autoseg.newest_model(workspace=trained / "workspace"))
    paths = [raw / "imagesTs" / f"demo_{CASES:03d}_{channel:04d}.nii.gz" for channel in range(2)]
    images = [sitk.ReadImage(str(path)) for path in paths]
    array = np.stack([sitk.GetArrayFromImage(image) for image in images])
    labels = model.predict(array, spacing=images[0].GetSpacing()[::-1])
    assert isinstance(labels, np.ndarray)
    assert labels.shape == array.shape[1:]
    joined = sitk.Compose(*images)
    same = model.predict(joined)
    assert isinstance(same, sitk.Image)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(same), labels)


@pytest.mark.slow
def test_killed_while_preparing_no_finished_case_is_redone(raw: Path, tmp_path: Path) -> None:
    words = ("plan_and_preprocess", raw, "--planner", "tiny", "--threads", "1")
    prepared = tmp_path / "workspace" / NAME / "prepared"

    def finished() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in prepared.glob("*/*/case.json") if path.parent.name[0] != "."}

    kill_when(lambda: len(finished()) >= 2, *words, cwd=tmp_path)
    before = finished()
    run(*words, cwd=tmp_path)
    after = finished()
    assert all(after[path] == time_written for path, time_written in before.items())
    assert len(list((prepared / "3d_fullres").iterdir())) == CASES  # nothing half written is left
    run(*words, cwd=tmp_path)
    assert finished() == after


@pytest.mark.slow
def test_only_a_changed_case_is_prepared_again(raw: Path, tmp_path: Path) -> None:
    copy = make_dataset(tmp_path / NAME, cases=3, tests=0)
    words = ("plan_and_preprocess", copy, "--planner", "tiny", "-c", "3d_fullres")
    run(*words, cwd=tmp_path)
    stores = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "workspace" / NAME).glob("prepared/*/*")}
    changed = copy / "imagesTr" / "demo_001_0000.nii.gz"
    image = sitk.ReadImage(str(changed))
    sitk.WriteImage(image + 1.0, str(changed))
    os.utime(copy / "imagesTr" / "demo_000_0000.nii.gz")  # touched, not changed
    assert "1 case prepared" in run(*words, cwd=tmp_path)
    now = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "workspace" / NAME).glob("prepared/*/*")}
    assert {key for key in stores if stores[key] != now[key]} == {"demo_001"}


@pytest.mark.slow
def test_killed_while_training_the_weights_end_as_if_nothing_had_happened(trained: Path, tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    subprocess.run(["cp", "-r", trained / "workspace", workspace], check=True)
    undisturbed = load_file(workspace / NAME / "runs" / "3d_fullres" / "fold_0" / "weights.safetensors")
    fold = workspace / NAME / "runs" / "3d_fullres" / "fold_0"
    subprocess.run(["rm", "-r", fold], check=True)
    words = ("train", NAME, "0", "--epochs", "1", "--checkpoint-every", "0.01s")
    kill_when(lambda: len(list(fold.glob("checkpoints/iteration_*.pt"))) > 1, *words, cwd=tmp_path)
    assert not (fold / "weights.safetensors").exists()
    assert "continuing after iteration" in run(*words, cwd=tmp_path)
    resumed = load_file(fold / "weights.safetensors")
    for name, values in undisturbed.items():
        np.testing.assert_array_equal(resumed[name], values)


def test_a_plan_edited_after_preparing_is_noticed_and_planning_again_keeps_the_edit(
    trained: Path, tmp_path: Path
) -> None:
    subprocess.run(["cp", "-r", trained / "workspace", tmp_path / "workspace"], check=True)
    path = tmp_path / "workspace" / NAME / "plan.json"
    plan = json.loads(path.read_text())
    plan["configurations"]["3d_fullres"]["spacing"] = [3.0, 1.5, 1.5]
    path.write_text(json.dumps(plan))
    assert "autoseg preprocess" in run("train", NAME, "1", cwd=tmp_path, code=2)
    run("plan", NAME, "--planner", "tiny", cwd=tmp_path)
    assert json.loads((path.parent / "plan.old.json").read_text()) == plan


def test_a_started_run_refuses_another_plan(trained: Path, tmp_path: Path) -> None:
    subprocess.run(["cp", "-r", trained / "workspace", tmp_path / "workspace"], check=True)
    root = tmp_path / "workspace" / NAME
    (root / "runs" / "3d_fullres" / "fold_0" / "weights.safetensors").unlink()
    plan = json.loads((root / "plan.json").read_text())
    plan["configurations"]["3d_fullres"]["optimizer"]["learning_rate"] = 0.5
    (root / "plan.json").write_text(json.dumps(plan))
    assert "another plan" in run("train", NAME, "0", cwd=tmp_path, code=2)


def test_all_problems_are_told_before_anything_is_written(raw: Path, tmp_path: Path) -> None:
    copy = make_dataset(tmp_path / NAME, cases=3, tests=0)
    labels = sitk.ReadImage(str(copy / "labelsTr" / "demo_000.nii.gz"))
    sitk.WriteImage(labels + 7, str(copy / "labelsTr" / "demo_000.nii.gz"))
    truncated = copy / "imagesTr" / "demo_002_0001.nii.gz"
    truncated.write_bytes(truncated.read_bytes()[:2000])
    said = run("plan_and_preprocess", copy, cwd=tmp_path, code=2)
    assert "demo_000" in said
    assert "demo_002" in said
    assert "demo_001" not in said
    assert not (tmp_path / "workspace" / NAME / "plan.json").exists()
    assert "demo_002" in run("check", copy, cwd=tmp_path, code=2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("train", "Nowhere", "0"), "Nowhere"),
        (("train", NAME, "7"), "no fold 7"),
        (("train", NAME, "0", "-c", "4d"), "3d_fullres"),
        (("predict", "-i", "nothing_here", "-o", "out"), "nothing_here"),
        (("train", NAME, "1", "--device", "cuda:9"), "cuda:9"),
    ],
)
def test_a_mistake_is_a_sentence_and_exit_code_2(trained: Path, words: tuple[str, ...], said: str) -> None:
    assert said in run(*words, cwd=trained, code=2)
