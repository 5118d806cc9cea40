"""A day with the command line: one training, its model found by itself, lines for programs, silence for scripts."""

from __future__ import annotations

import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from run_settings import SETTINGS

import autoseg
from autoseg.bundle.card import _configuration
from autoseg.bundle.manifest import CrossValidation, Manifest
from autoseg.bundle.write import write_bundle
from autoseg.cli import main
from autoseg.data.folds import Fold
from autoseg.errors import UsageError
from autoseg.model_names import KnownModel, known_models
from autoseg.pipeline import announce
from autoseg.pipeline.demo import NAME, make_dataset
from autoseg.pipeline.models import ListedModel, list_models, model_table
from autoseg.pipeline.train_fold import FoldRun
from autoseg.plan import Plan
from autoseg.training.budget import Budget
from autoseg.workspace import DatasetFolder, Workspace

SMALL = ("3d_fullres.patch_size=8,32,32", "3d_fullres.network.features=[4,8,8]", "training.iterations_per_epoch=3")
HERE = ("--device", "cpu", "--threads", "1", "--precision", "float32")


def call(folder: Path, *words: object) -> int:
    return main([*map(str, words), "--workspace", str(folder / "workspace")])


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a fold that was trained for programs; what these read is ``lines.json``."""
    folder = tmp_path_factory.mktemp("home")
    raw = make_dataset(folder / NAME, cases=5, tests=1)
    changes = [word for change in (*SMALL, "mirror_axes=[]") for word in ("--set", change)]
    assert call(folder, "plan_and_preprocess", raw, "--planner", "tiny", "-c", "3d_fullres", *changes, *HERE) == 0
    return folder


@pytest.fixture(scope="module")
def trained(home: Path) -> Path:
    words = ["train", NAME, "0", "-c", "3d_fullres", "--epochs", "4", "--json", "--no-report", *HERE]
    with pytest.MonkeyPatch.context() as patch, (home / "lines.json").open("w") as stdout:
        patch.setattr("sys.stdout", stdout)
        assert call(home, *words) == 0
    return home


def files_in(folder: Path) -> DatasetFolder:
    return Workspace(folder / "workspace").dataset_folder(NAME)


@pytest.mark.slow
def test_a_training_tells_programs_how_far_it_is_and_what_came_of_it(trained: Path) -> None:
    said = lines((trained / "lines.json").read_text())
    kinds = [line["kind"] for line in said]
    assert {*kinds[:-1]} == {"message", "progress"} and kinds[-1] == "result"
    training = [line for line in said if line["kind"] == "progress" and line["what"] == "training"]
    assert [line["done"] for line in training if "epoch" in line] == [3, 6, 9, 12]
    assert all(line["total"] == 12 for line in training)
    assert training[-1]["seconds_left"] == 0 and 0 <= training[-1]["share_waiting_for_data"] <= 1
    result, files = said[-1], files_in(trained)
    assert (result["command"], result["exit_code"]) == ("train", 0)
    assert result["model"] == str(files.runs("3d_fullres"))
    (line,) = result["trainings"]
    scores = json.loads(files.run("3d_fullres", "0").scores.read_text())
    assert (line["state"], line["fold"], line["validated"]) == ("finished", "0", True)
    assert line["dice"] == pytest.approx(scores["overall"]["dice"]["mean"])


@pytest.mark.slow
def test_status_and_info_list_what_there_is(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(trained, "status", "--json") == 0
    (status,) = lines(capsys.readouterr().out)
    (line,) = status["trainings"]
    assert call(trained, "info") == 0
    table = capsys.readouterr().out
    assert f"{line['dice']:.3f}" in table and "trained here" in table and "organ, lesion" in table
    assert f"use one: autoseg predict -d {NAME} -i IN -o OUT" in table
    assert table.rstrip() == autoseg.info(workspace=trained / "workspace")
    assert call(trained, "info", "--json") == 0
    (models,) = lines(capsys.readouterr().out)
    assert models["models"][0]["channels"] == ["T1", "T2"]
    assert models["models"][0]["dice"] == pytest.approx(line["dice"])


@pytest.mark.slow
def test_earlier_trainings_are_told_when_another_begins(trained: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = files_in(trained)
    scores = json.loads(files.run("3d_fullres", "0").scores.read_text())
    told = f"Dice {scores['overall']['dice']['mean']:.3f} (3d_fullres fold 0)"
    assert announce.reached_before(files, files.run("2d", "0")) == told
    assert announce.reached_before(files, files.run("3d_fullres", "0")) == ""
    plan = files.read_plan()
    plan = replace(plan, configurations={"2d": plan.configurations["2d"]}, default="2d")
    with caplog.at_level("INFO", "autoseg"):
        announce.begun(FoldRun(files, plan, "0", Fold(("a",), ()), SETTINGS), Budget(3), [])
    assert f"earlier trainings of {NAME} reached, on their validation cases, {told}" in caplog.text


@pytest.mark.slow
def test_a_2d_model_has_pixels(home: Path) -> None:
    plan = files_in(home).read_plan()
    assert "pixels of 1 x 1 mm" in _configuration(plan, "2d", ("0",))
    assert "voxels of 3 x 1 x 1 mm" in _configuration(plan, "3d_fullres", ("0",))


@pytest.mark.slow
def test_the_only_model_predicts_and_of_several_one_must_be_named(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    shutil.copytree(trained, home)
    ask = ("predict", "-i", home / NAME / "imagesTs", "-o")
    assert call(home, *ask, tmp_path / "one", *HERE) == 0
    said = capsys.readouterr().err
    assert f"no model is named: -d {NAME} is the only one in {home / 'workspace'}" in said
    assert call(home, *ask, tmp_path / "two", "--json", *HERE) == 0
    result = lines(capsys.readouterr().out)[-1]
    (written,) = [path.name for path in (tmp_path / "one").glob("*.nii.gz")]
    assert result["report"]["written"] == [str(tmp_path / "two" / written)] and result["report"]["failed"] == {}
    assert call(home, *ask, tmp_path / "three", "--quiet", *HERE) == 0
    said_quietly = capsys.readouterr()
    assert (said_quietly.out, said_quietly.err) == ("", "")

    assert call(home, "export", NAME, "-o", tmp_path / "m.zip") == 0
    assert call(home, "install", tmp_path / "m.zip") == 0
    capsys.readouterr()
    assert call(home, *ask, tmp_path / "four", *HERE) == 2
    said = capsys.readouterr().err
    names = [model.name for model in known_models(Workspace(home / "workspace"))]
    assert f"has 2 models; choose one: -m {names[0]}, -d {NAME}" in said and not (tmp_path / "four").exists()
    assert call(home, *ask, tmp_path / "five", "-m", names[0], *HERE) == 0
    shutil.rmtree(home / "workspace" / NAME)
    capsys.readouterr()
    assert call(home, *ask, tmp_path / "six", *HERE) == 0
    assert f"no model is named: -m {names[0]} is the only one" in capsys.readouterr().err


@pytest.mark.slow
def test_a_model_that_cannot_be_used_is_listed_with_why(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "workspace", tmp_path / "workspace")
    files_in(tmp_path).run("3d_fullres", "0").effective.write_text("{")
    (model,) = list_models(Workspace(tmp_path / "workspace"))
    assert model.problem is not None and "plan.json" in model.problem


def test_where_nothing_is_trained_or_installed_it_is_told_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(tmp_path, "info") == 0
    assert "`autoseg train DATASET 0` trains one" in capsys.readouterr().out
    assert call(tmp_path, "predict", "-i", "x", "-o", tmp_path / "out") == 2
    assert "no trained model" in capsys.readouterr().err


def test_a_configuration_without_a_model_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(tmp_path, "info", "-c", "2d") == 2
    assert "-c needs MODEL" in capsys.readouterr().err
    with pytest.raises(UsageError, match="needs a model"):
        autoseg.info(workspace=tmp_path, configuration="2d")


def test_python_takes_no_model_of_several_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    several = [KnownModel(name, "-m", tmp_path / name) for name in ("a", "b")]
    monkeypatch.setattr("autoseg.model_names.known_models", lambda *_: several)
    with pytest.raises(UsageError, match="has 2 models; choose one"):
        autoseg.load_model(workspace=tmp_path)


def test_of_models_one_that_can_be_used_is_recommended(tmp_path: Path) -> None:
    broken = ListedModel("a", "-m", tmp_path, (), (), (), None, "damaged")
    usable = replace(broken, name="b", problem=None)
    assert "predict -m b -i IN" in model_table([broken, usable], Workspace(tmp_path))
    assert "none can be used: `autoseg info a` says why" in model_table([broken], Workspace(tmp_path))


def test_a_bundle_whose_scores_lack_dice_is_listed(small_plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    name = next(iter(small_plan.configurations))
    manifest = Manifest("Small", {name: ("0",)}, {name: 1.0}, scores=CrossValidation({}, {}, ("0",)))
    write_bundle(tmp_path / "small.zip", manifest, small_plan, {name: {"0": b"w" * 5000}})
    with zipfile.ZipFile(tmp_path / "small.zip") as packed:
        packed.extractall(tmp_path / "models" / "Small")
    (model,) = list_models(Workspace(tmp_path))
    assert (model.dice, model.problem) == (None, None)
