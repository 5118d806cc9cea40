"""Python and the command line offer the same: every flag has its argument, every function does as its command does."""

from __future__ import annotations

import inspect
import pydoc
from argparse import ArgumentParser, _SubParsersAction
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

import autoseg
from autoseg import api
from autoseg.cli import parser
from autoseg.pipeline.demo import NAME, make_dataset

COMMANDS = {
    "baseline": autoseg.baseline,
    "check": autoseg.check,
    "convert": autoseg.convert,
    "doctor": autoseg.doctor,
    "evaluate": autoseg.evaluate,
    "explain": autoseg.explain,
    "export": autoseg.export,
    "import": autoseg.import_model,
    "info": autoseg.info,
    "install": autoseg.install,
    "mesh": autoseg.mesh,
    "parts": autoseg.list_parts,
    "plan_and_preprocess": autoseg.plan_and_preprocess,
    "plot": autoseg.plot,
    "predict": autoseg.predict,
    "report": autoseg.report,
    "search": autoseg.search,
    "select": autoseg.select,
    "status": autoseg.status,
    "train": autoseg.train,
}
WITHOUT_FUNCTION = {
    "completion": "for shells",
    "demo": "it is for looking at",
    "fingerprint": "a step of plan_and_preprocess",
    "plan": "a step of plan_and_preprocess",
    "preprocess": "a step of plan_and_preprocess",
}
SETTINGS = {"device", "threads", "precision", "seed", "deterministic", "compile"}
CALLED = {
    "trust": "trusted",
    "training_memory": "memory",
    "training_time": "minutes",
    "time": "minutes",
    "checkpoint_every": "checkpoint_minutes",
    "no_contours": "contours",
    "no_mirroring_test": "mirroring_test",
    "no_pictures": "pictures",
    "no_report": "report",
    "channel": "channels",
}
CALLED_IN = {
    ("plan_and_preprocess", "configuration"): "configurations",
    ("plan_and_preprocess", "dataset"): "folder",
    ("select", "configuration"): "configurations",
    ("predict", "also"): "outputs",
    ("predict", "input"): "images",
    ("predict", "dataset"): "model",  # -d and -m are one argument
    ("predict", "memory"): "settings",
    ("import", "out"): "output",
    ("plot", "channel"): "channel",
    ("explain", "method"): "methods",
    ("explain", "label"): "labels",
    ("search", "network"): "networks",
}
HOW = {"help", "quiet", "json"}  # a command speaks
ONLY_COMMANDS = {
    "baseline": autoseg.baseline,
    ("plan_and_preprocess", "explain"): "prints the reasons, which the plan holds",
    ("search", "take"): "edits a plan, which Python can do by itself",
    ("status", "watch"): "prints again and again",
    ("train", "devices"): "starts commands",
    ("train", "only"): "is for commands that train --devices starts",
    ("import", "program"): "there is one",
}


def subcommands() -> dict[str, ArgumentParser]:
    (action,) = (action for action in parser()._actions if isinstance(action, _SubParsersAction))
    return dict(action.choices)


def test_every_command_has_its_function_or_a_reason() -> None:
    assert {*subcommands()} == {*COMMANDS, *WITHOUT_FUNCTION}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_flag_has_its_argument(command: str) -> None:
    arguments = {*inspect.signature(COMMANDS[command]).parameters}
    for flag in (action.dest for action in subcommands()[command]._actions if action.dest not in HOW):
        if (command, flag) in ONLY_COMMANDS:
            continue
        wanted = CALLED_IN.get((command, flag)) or ("settings" if flag in SETTINGS else CALLED.get(flag, flag))
        if command in {"evaluate", "convert", "plot", "mesh"} and flag == "workspace":
            continue  # they write where they are told to
        if flag == "trust" and command in {"check", "doctor", "status", "import", "plot", "mesh"}:
            continue  # no parts are loaded
        assert wanted in arguments, f"{flag} of {command}"


def test_what_is_exported_is_there_and_nothing_else() -> None:
    assert autoseg.__all__ == sorted(autoseg.__all__) and {*api.__all__} <= {*autoseg.__all__}
    assert all(getattr(autoseg, name) is not None for name in autoseg.__all__)
    functions = {name for name, value in vars(autoseg).items() if inspect.isfunction(value) and name[0] != "_"}
    assert functions - {*autoseg.__all__} == {"ask_for", "leave_current_folder"}
    assert {name for name in api.__all__} == {*functions} & {*autoseg.__all__}


def test_help_lists_what_is_imported_later() -> None:
    text = pydoc.render_doc(autoseg, renderer=pydoc.plaintext)
    assert all(f"class {name}" in text for name in ("Model", "Predictor", "Prediction", "RunSettings"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the dataset, trained for a few steps in the workspace of the environment."""
    folder = tmp_path_factory.mktemp("notebook")
    raw = make_dataset(folder / NAME, cases=5, tests=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOSEG_WORKSPACE", str(folder / "workspace"))
        short = ["training.iterations_per_epoch=2"]
        assert autoseg.check(raw) == []
        plan = autoseg.plan_and_preprocess(raw, planner="tiny", configurations=["3d_fullres"], changes=short)
        assert plan.dataset == NAME
        assert autoseg.train(raw, 0, epochs=1, configuration="3d_fullres") == autoseg.newest_model()
    return folder


@pytest.fixture(autouse=True)
def in_workspace(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "home" in request.fixturenames:
        monkeypatch.setenv("AUTOSEG_WORKSPACE", str(request.getfixturevalue("home") / "workspace"))
        monkeypatch.chdir(request.getfixturevalue("home"))


@pytest.mark.slow
def test_a_dataset_is_a_name_a_number_or_a_path(home: Path) -> None:
    models = {autoseg.newest_model(name) for name in (NAME, 999, "999", home / NAME, None)}
    assert models == {home / "workspace" / NAME / "runs" / "3d_fullres"}
    (run,) = autoseg.status()
    assert (run.dataset, run.fold, run.state) == (NAME, "0", "finished")


@pytest.mark.slow
def test_predict_and_load_take_what_the_command_takes(home: Path, tmp_path: Path) -> None:
    (zipped,) = autoseg.export(NAME, tmp_path / "m.zip", licence="CC0", configuration="3d_fullres")
    installed = autoseg.install(zipped)
    assert "CC0" in autoseg.info(installed.name)
    maps = []
    for number, model in enumerate((NAME, zipped, installed.name, autoseg.newest_model(), autoseg.load_model(NAME))):
        report = autoseg.predict(model, home / NAME / "imagesTs", tmp_path / str(number))
        assert not report.failed
        (path,) = (tmp_path / str(number)).glob("*.nii.gz")
        maps.append(sitk.GetArrayFromImage(sitk.ReadImage(str(path))))
    assert all(np.array_equal(each, maps[0]) for each in maps)
    summary = autoseg.evaluate(home / NAME / "labelsTs", tmp_path / "0", labels=home / NAME / "dataset.json")
    assert len(summary.cases) == 1


@pytest.mark.slow
def test_what_validation_keeps_gives_a_roc_and_predictions_give_volumes(home: Path, tmp_path: Path) -> None:
    validation = home / "workspace" / NAME / "runs" / "3d_fullres" / "fold_0" / "validation"
    before = sorted(validation.rglob("*"))
    summary = autoseg.evaluate(home / NAME / "labelsTr", validation, metrics=["roc", "lesions"], lesion_dilation=1)
    assert len(summary.cases) == 1 and len(summary.missing) == 4
    assert all(0 <= row["auc"].mean <= 1 for row in summary.labels.values())
    assert sorted(validation.rglob("*")) == before
    report = autoseg.predict(NAME, home / NAME / "imagesTs", tmp_path / "out", volumes=True)
    assert not report.failed and (tmp_path / "out" / "volumes.csv").exists()


@pytest.mark.slow
def test_images_in_memory_may_come_one_per_channel(home: Path) -> None:
    """As lists of SimpleITK's or nibabel's images; what comes back is of the same kind."""
    paths = sorted((home / NAME / "imagesTs").iterdir())
    model = autoseg.load_model(NAME)
    expected = model.predict(paths).labels
    itk = model.predict([sitk.ReadImage(str(path)) for path in paths])
    assert isinstance(itk, sitk.Image) and np.array_equal(sitk.GetArrayFromImage(itk), expected)
    nii = model.predict([nibabel.load(path) for path in paths])
    assert np.array_equal(np.asarray(nii.dataobj).T, expected)
    with pytest.raises(autoseg.errors.AutosegError, match="grid"):
        other = sitk.ReadImage(str(paths[1]))
        other.SetSpacing([2 * edge for edge in other.GetSpacing()])
        model.predict([sitk.ReadImage(str(paths[0])), other])
