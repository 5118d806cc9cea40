"""Bias correction, filters and normalizers on the command line: planned, prepared, trained and predicted with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import autoseg
from autoseg.cli import main
from autoseg.errors import RecordError, UsageError
from autoseg.inference.model import Model
from autoseg.parts.filters import median, n4
from autoseg.parts.normalizers import histogram, rescale, zscore
from autoseg.parts.readers import read_image
from autoseg.pipeline.demo import NAME, make_dataset
from autoseg.plan import read_plan
from autoseg.preprocessing.store import CaseStore
from autoseg.settings import RunSettings

pytestmark = pytest.mark.slow

WISHES = ["--bias-correction", "T1", "--filter", "T2=median", "--normalizer", "T2=histogram"]
QUICK = ["--set", "filters.0.0.iterations=[3,3]", "--set", "network.features=[4,8,8]", "--set", "mirror_axes=[2]"]
SHORT = ["--epochs", "1", "--set", "training.iterations_per_epoch=2", "--device", "cpu", "--threads", "1"]


def call(root: Path, *words: str | Path) -> int:
    return main([*map(str, words), "--workspace", str(root / "workspace")])


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("raw") / NAME, cases=3, tests=1)


@pytest.fixture(scope="module")
def trained(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which a fold was trained on filtered images."""
    root = tmp_path_factory.mktemp("filtered")
    planned = ("plan_and_preprocess", raw, "--planner", "tiny", "-c", "3d_fullres", "--threads", "2")
    assert call(root, *planned, *WISHES, *QUICK) == 0
    assert call(root, "train", NAME, "0", "-c", "3d_fullres", *SHORT) == 0
    return root


def test_the_plan_says_what_was_asked_for_in_every_configuration(trained: Path) -> None:
    plan = read_plan(trained / "workspace" / NAME / "plan.json")
    for configuration in plan.configurations.values():
        assert configuration.filters == ((n4.Spec(iterations=(3, 3)),), (median.Spec(),))
        assert isinstance(configuration.normalizers[0], zscore.Spec)
        assert isinstance(configuration.normalizers[1], histogram.Spec)
    assert "channel T1: filtered before it is normalised, as you asked: n4" in plan.reasons


def test_prediction_prepares_what_training_saw(trained: Path, raw: Path) -> None:
    """From its own plan alone, bit by bit, before half precision."""
    folder = trained / "workspace" / NAME
    model = Model.read(folder / "runs" / "3d_fullres", settings=RunSettings(device="cpu", threads=1))
    stored = CaseStore(folder / "prepared" / "3d_fullres")
    for key in stored.keys():
        files = sorted((raw / "imagesTr").glob(f"{key}_*.nii.gz"))
        found = model.prepare(read_image(files)).image
        kept, _ = stored.open(key).read_whole()
        np.testing.assert_array_equal(found.astype(kept.dtype), kept)


def test_predict_filters_and_says_so(
    trained: Path, raw: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        assert (
            call(trained, "predict", "-i", raw / "imagesTs", "-o", tmp_path / "out", "-d", NAME, "--device", "cpu") == 0
        )
    assert "images are filtered first (n4 of T1; median of T2)" in caplog.text
    assert [*(tmp_path / "out").glob("*.nii.gz")]


def test_fields_are_kept_for_the_next_preparation_and_other_configurations(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "copy"
    shutil.copytree(trained, root)
    measured = root / "workspace" / NAME / "measured" / "estimates"
    before = {path: path.read_bytes() for path in measured.rglob("*.npz")}
    assert len(before) == len([*measured.iterdir()]) == 3
    images = {path: path.read_bytes() for path in (root / "workspace" / NAME / "prepared").rglob("image.b2nd")}
    shutil.rmtree(root / "workspace" / NAME / "prepared")

    def never(*_: object) -> None:
        raise AssertionError("a field was computed again")

    with monkeypatch.context() as patch:
        patch.setattr(n4.Spec, "estimate", never)
        assert call(root, "preprocess", NAME) == 0
    assert {path: path.read_bytes() for path in measured.rglob("*.npz")} == before
    assert all(path.read_bytes() == content for path, content in images.items()) and len(images) == 3
    assert {path.name for path in (root / "workspace" / NAME / "prepared").iterdir()} > {"3d_fullres"}
    for path in before:
        path.write_bytes(path.read_bytes()[:-9])
    (measured / "of another case").mkdir()
    next(iter(before)).rename(measured / "of another case" / "0.npz")
    shutil.rmtree(root / "workspace" / NAME / "prepared")
    assert call(root, "preprocess", NAME, "-c", "3d_fullres") == 0
    assert all(path.read_bytes() == content for path, content in images.items())
    assert {*measured.rglob("*.npz")} == {*before}


def test_validation_takes_the_fields_that_preparing_found(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "copy"
    shutil.copytree(trained, root)
    scores = root / "workspace" / NAME / "runs" / "3d_fullres" / "fold_0" / "validation" / "scores.json"
    before = scores.read_bytes()
    shutil.rmtree(scores.parent)

    def never(*_: object) -> None:
        raise AssertionError("a field was computed again")

    monkeypatch.setattr(n4.Spec, "estimate", never)
    assert call(root, "train", NAME, "0", "-c", "3d_fullres", *SHORT) == 0
    assert scores.read_bytes() == before
    assert call(root, "select", NAME, "--folds", "0", "--no-report") == 0
    selection = json.loads((root / "workspace" / NAME / "selection" / "selection.json").read_text())
    assert selection["mirroring"]["3d_fullres"]["passes"] > 1


def test_cases_are_prepared_anew_when_filters_change_and_only_then(trained: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(trained, root)
    record = root / "workspace" / NAME / "prepared" / "3d_fullres"

    def contents() -> set[str]:
        return {json.loads(path.read_text())["content"] for path in record.glob("*/case.json")}

    first = contents()
    assert call(root, "preprocess", NAME, "-c", "3d_fullres") == 0 and contents() == first
    tiny = ("plan", NAME, "--planner", "tiny")
    assert call(root, *tiny) == 0 and call(root, "preprocess", NAME, "-c", "3d_fullres") == 0
    assert not contents() & first
    assert call(root, *tiny, *WISHES, *QUICK) == 0 and call(root, "preprocess", NAME, "-c", "3d_fullres") == 0
    assert contents() == first


def test_training_refuses_a_change_of_filters(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("train", NAME, "1", "-c", "3d_fullres", *SHORT, "--set", "filters.0.0.voxel=5")
    assert call(trained, *words) == 2
    assert "decides how cases are prepared" in capsys.readouterr().err


def test_the_explanation_and_the_comparison_show_filters(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(trained, "plan", NAME, "--compare", "tiny", "plain_unet", *WISHES) == 0
    said = capsys.readouterr().out
    assert "filters.0.0" in said and "n4" in said and "median" in said
    assert call(trained, "plan", NAME, "--compare", "tiny", "plain_unet") == 0
    assert "filters" not in capsys.readouterr().out


def test_nnunet_has_no_filters(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = (
        "plan",
        NAME,
        "--planner",
        "tiny",
        "--bias-correction",
        "T1",
        "--format",
        "nnunet",
        "-o",
        tmp_path / "plans",
    )
    root = tmp_path / "copy"
    shutil.copytree(trained, root)
    assert call(root, *words) == 2
    assert "no counterpart of filters" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--bias-correction", "FLAIR"], "there is no channel 'FLAIR'; name one of T1 (0), T2 (1)"),
        (["--filter", "FLAIR=median"], "there is no channel 'FLAIR'"),
        (["--filter", "T1=nope"], "no 'nope' in autoseg.parts.filters; choose one of"),
        (["--filter", "T1"], "write CHANNEL=NAME"),
        (["--normalizer", "T1=nope"], "no 'nope' in autoseg.parts.normalizers"),
        (["--set", 'filters=[[{"name": "n4", "iterations": [10000000]}], []]'], "iterations must be at most"),
    ],
)
def test_what_there_is_not_is_a_sentence_before_images_are_read(
    raw: Path, tmp_path: Path, flags: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code: object = call(tmp_path, "plan_and_preprocess", raw, "--planner", "tiny", *flags)
    except SystemExit as stopped:  # argparse
        code = stopped.code
    told = capsys.readouterr().err
    assert code == 2 and said in told and "Traceback" not in told
    if "--set" not in flags:
        assert not (tmp_path / "workspace" / NAME / "measured").exists()


def test_python_takes_the_same(raw: Path, tmp_path: Path) -> None:
    plan = autoseg.plan_and_preprocess(
        raw,
        tmp_path / "workspace",
        planner="tiny",
        bias_correction="T2",
        filters={"T1": ["median", "gaussian"]},
        normalizers={"T1": "rescale"},
        changes=["filters.1.0.iterations=[2]"],
        configurations=["2d"],
    )
    assert [len(parts) for parts in plan.configurations["2d"].filters] == [2, 1]
    assert plan.configurations["2d"].normalizers[0] == rescale.Spec()


@pytest.mark.parametrize(
    "given", [{"filters": ["median"]}, {"filters": {"T1": 3.5}}, {"bias_correction": 2.5}, {"normalizers": {"T1": ""}}]
)
def test_python_refuses_what_names_nothing(raw: Path, tmp_path: Path, given: dict[str, object]) -> None:
    with pytest.raises((UsageError, RecordError), match=next(iter(given))):
        autoseg.plan_and_preprocess(raw, tmp_path / "workspace", planner="tiny", **given)
