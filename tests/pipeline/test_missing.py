"""Cases that lack a channel, from the dataset to the prediction."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from run_settings import SETTINGS

import autoseg
from autoseg.bundle.card import card
from autoseg.bundle.trained import read_trained
from autoseg.cli import main
from autoseg.core.missing import MissingChannels
from autoseg.core.records import read_json
from autoseg.errors import DatasetError, ModelError
from autoseg.evaluation.scores import Summary
from autoseg.inference.inputs import all_inputs
from autoseg.inference.model import Model
from autoseg.parts.filters import n4
from autoseg.parts.inputs import presence
from autoseg.pipeline.export_bundle import describe
from autoseg.pipeline.missing import subset_scores
from autoseg.run_folder import RunFolder
from autoseg.workspace import Workspace

pytestmark = pytest.mark.slow

NAME, SHAPE, SPACING = "Dataset001_Gaps", (12, 26, 24), (2.0, 1.0, 1.0)
HERE = ("--device", "cpu", "--threads", "1", "--precision", "float32")
SMALL = ("--planner", "tiny", "--set", "network.features=[4,8,8]", "--mirror", "none", "-c", "3d_fullres")
SHORT = ("--epochs", "1", "--set", "training.iterations_per_epoch=3", "-c", "3d_fullres")
LACKING = {"case_0": ("FLAIR",), "case_3": ("FLAIR",)}


def write(array: np.ndarray, path: Path) -> None:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(SPACING[::-1])
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


def make_dataset(folder: Path, lacking: dict[str, Sequence[str]], cases: int = 5) -> Path:
    random = np.random.default_rng(0)
    for number in range(cases):
        labels = np.zeros(SHAPE, np.uint8)
        labels[3:9, 8:18, 6 + number : 16 + number] = 1
        for channel, name in enumerate(("T1", "FLAIR")):
            image = (1 + labels + random.normal(0, 0.2, SHAPE)).astype(np.float32)
            if name not in lacking.get(f"case_{number}", ()):
                write(image, folder / "imagesTr" / f"case_{number}_{channel:04d}.nii.gz")
        write(labels, folder / "labelsTr" / f"case_{number}.nii.gz")
    described = {"channel_names": {"0": "T1", "1": "FLAIR"}, "labels": {"background": 0, "organ": 1}}
    (folder / "dataset.json").write_text(json.dumps(described | {"file_ending": ".nii.gz", "numTraining": cases}))
    return folder


def call(workspace: Path, *words: str | Path) -> int:
    return main([*map(str, words), "--workspace", str(workspace)])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of which two cases lack FLAIR, and a workspace with fold 0 trained on it; nobody said anything."""
    folder = tmp_path_factory.mktemp("gaps")
    raw = make_dataset(folder / NAME, LACKING)
    assert call(folder / "workspace", "plan_and_preprocess", raw, *SMALL, *HERE) == 0
    assert call(folder / "workspace", "train", NAME, "0", *SHORT, *HERE) == 0
    return folder


def run_of(trained: Path) -> RunFolder:
    return Workspace(trained / "workspace").dataset_folder(NAME).run("3d_fullres", "0")


def labels_in(folder: Path) -> dict[str, np.ndarray]:
    return {path.name: sitk.GetArrayFromImage(sitk.ReadImage(str(path))) for path in sorted(folder.glob("*.nii.gz"))}


def test_a_dataset_with_gaps_is_planned_for_without_a_flag(trained: Path) -> None:
    configuration = run_of(trained).read_plan().configuration()[1]
    assert configuration.missing == MissingChannels({"FLAIR": 0.4}) and configuration.inputs == (presence.Spec(),)


def test_scores_hold_every_subset_beside_the_cases_as_they_are(trained: Path) -> None:
    files = Workspace(trained / "workspace").dataset_folder(NAME)
    validation = files.read_folds().folds[0].validation
    scores = read_json(run_of(trained).scores, Summary)
    assert set(scores.cases) == {*validation}
    complete = {key for key in validation if key not in LACKING}
    expected = {"T1": {*validation}} | ({"T1 + FLAIR": complete} if complete else {})
    assert {name: {*found.cases} for name, found in scores.subsets.items()} == expected
    for key in set(validation) & {*LACKING}:  # a case is what it is without FLAIR
        assert scores.subsets["T1"].cases[key] == scores.cases[key]


def test_a_second_training_does_nothing_and_subsets_that_are_gone_are_scored_again(
    trained: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = run_of(trained).scores
    before = path.read_text()
    with caplog.at_level(logging.INFO, "autoseg"):
        assert call(trained / "workspace", "train", NAME, "0", *SHORT, *HERE) == 0
        assert path.read_text() == before and "subsets" not in caplog.text
        record = {key: value for key, value in json.loads(before).items() if key not in ("subsets", "checksum")}
        path.write_text(json.dumps(record))
        assert call(trained / "workspace", "train", NAME, "0", *SHORT, *HERE) == 0
    assert path.read_text() == before
    assert "subsets of the channels, which are" in caplog.text


def test_predict_takes_what_is_there_and_says_what_is_missing(
    trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(trained / NAME / "imagesTr", tmp_path / "in")
    with caplog.at_level(logging.INFO, "autoseg"):
        assert call(trained / "workspace", "predict", "-i", tmp_path / "in", "-o", tmp_path / "out", *HERE) == 0
    assert len(labels_in(tmp_path / "out")) == 5
    said = [record.getMessage() for record in caplog.records if " lacks " in record.getMessage()]
    dice = subset_scores(model(trained))["T1"].mean
    assert [line.partition(":")[0] for line in said] == ["case_0", "case_3"]
    assert all(f"lacks FLAIR; without, cross-validation found a Dice of {dice:.3f}" in line for line in said)


def model(trained: Path) -> Model:
    found = Model.read(run_of(trained).root.parent, settings=SETTINGS)
    assert isinstance(found, Model)
    return found


def test_a_required_channel_that_is_missing_is_named_with_its_case(
    trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    for name, target in (("case_1_0001", "x_0001"), ("case_1_0001", "y_0001"), ("case_1_0000", "y_0000")):
        shutil.copy(trained / NAME / "imagesTr" / f"{name}.nii.gz", tmp_path / "in" / f"{target}.nii.gz")
    with caplog.at_level(logging.INFO, "autoseg"):
        assert call(trained / "workspace", "predict", "-i", tmp_path / "in", "-o", tmp_path / "out", *HERE) == 1
    assert list(labels_in(tmp_path / "out")) == ["y.nii.gz"]
    assert "x: lacks T1, which the model needs; a case may only lack FLAIR" in caplog.text
    only = ("predict", "-i", tmp_path / "in" / "x_0001.nii.gz", "-o", tmp_path / "none", *HERE)
    assert call(trained / "workspace", *only) == 2
    assert "case x: lacks T1" in capsys.readouterr().err


def test_images_in_memory_may_lack_a_channel(trained: Path, tmp_path: Path) -> None:
    run, path = model(trained), trained / NAME / "imagesTr" / "case_1_0000.nii.gz"
    image = sitk.ReadImage(str(path))
    array = sitk.GetArrayFromImage(image)
    found = run.predict([array, None], spacing=SPACING)
    np.testing.assert_array_equal(found, sitk.GetArrayFromImage(run.predict([image, None])))
    np.testing.assert_array_equal(found, run.predict([path, None]).labels)
    shutil.copy(path, tmp_path / "a_0000.nii.gz")
    report = autoseg.predict(run, tmp_path / "a_0000.nii.gz", tmp_path / "out")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(report.written[0]))), found)
    for wrong in ([None, array], [None, None]):
        with pytest.raises(ModelError, match=r"lacks T1|every channel is None"):
            run.predict(wrong, spacing=SPACING)


def test_the_network_is_told_in_prediction(trained: Path) -> None:
    run, array = model(trained), np.random.default_rng(0).normal(1, 0.2, SHAPE).astype(np.float32)
    for parts, expected in (([array, None], (1, 0)), ([array, array], (1, 1))):
        prepared = run.prepare(_opened(parts))
        seen = all_inputs(prepared, run.task, lambda: np.empty(0))
        assert seen.shape[0] == 4 and (seen[2] == expected[0]).all() and (seen[3] == expected[1]).all()
        assert seen[1].any() == bool(expected[1])


def _opened(parts: list[Any]) -> Any:
    from autoseg.inference.in_memory import opened

    return opened(parts, SPACING)[0]


def test_a_bundle_keeps_it_all_and_predicts_the_same(trained: Path, tmp_path: Path) -> None:
    bundle, workspace = tmp_path / "gaps.zip", trained / "workspace"
    assert call(workspace, "export", run_of(trained).root.parent, "-o", bundle) == 0
    source, packed = model(trained), Model.read(bundle, settings=SETTINGS)
    array = sitk.GetArrayFromImage(sitk.ReadImage(str(trained / NAME / "imagesTr" / "case_2_0000.nii.gz")))
    assert isinstance(packed, Model) and packed.configuration.missing == MissingChannels({"FLAIR": 0.4})
    assert (
        source.logits(source.prepare(_opened([array, None]))) == packed.logits(packed.prepare(_opened([array, None])))
    ).all()
    assert subset_scores(packed) == subset_scores(source) != {}
    told = card(read_trained(bundle), describe(read_trained(bundle)))
    assert "may lack        FLAIR" in told and "channels T1: " in told


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete dataset, planned for missing channels on request and trained without validating subsets."""
    folder = tmp_path_factory.mktemp("asked")
    raw = make_dataset(folder / NAME, {})
    wish = ("--missing-channels", "--set", "3d_fullres.missing.uniform=0.25")
    assert call(folder / "workspace", "plan_and_preprocess", raw, *SMALL, *wish, *HERE) == 0
    assert call(folder / "workspace", "train", NAME, "0", *SHORT, "--set", "missing.validate=false", *HERE) == 0
    return folder


def test_on_request_every_subset_is_planned_for(asked: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    configuration = run_of(asked).read_plan().configuration()[1]
    assert configuration.missing == MissingChannels({"T1": 0.0, "FLAIR": 0.0}, 0.25, validate=False)
    assert read_json(run_of(asked).scores, Summary).subsets == {}
    shutil.copy(asked / NAME / "imagesTr" / "case_1_0001.nii.gz", tmp_path / "a_0001.nii.gz")
    with caplog.at_level(logging.INFO, "autoseg"):
        given = ("predict", "-i", tmp_path / "a_0001.nii.gz", "-o", tmp_path / "out", *HERE)
        assert call(asked / "workspace", *given) == 0
    assert "a: lacks T1; no cross-validation says how good the model is without" in caplog.text
    assert list(labels_in(tmp_path / "out")) == ["a.nii.gz"]


def test_every_subset_is_validated_where_any_may_be_missing(asked: Path, tmp_path: Path) -> None:
    shutil.copytree(asked, tmp_path / "copy")
    workspace = tmp_path / "copy" / "workspace"
    assert call(workspace, "train", NAME, "1", *SHORT, *HERE) == 0
    scores = read_json(Workspace(workspace).dataset_folder(NAME).run("3d_fullres", "1").scores, Summary)
    assert list(scores.subsets) == ["T1 + FLAIR", "FLAIR", "T1"]
    assert scores.subsets["T1 + FLAIR"].cases == scores.cases and scores.subsets["T1 + FLAIR"].overall == scores.overall


def test_bias_fields_are_found_once_for_each_case_and_channel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw, workspace, found = make_dataset(tmp_path / NAME, {}, cases=3), tmp_path / "workspace", list[tuple[int, ...]]()
    estimate = n4.Spec.estimate

    def counted(self: n4.Spec, channel: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
        found.append(channel.shape)
        return estimate(self, channel, spacing)

    monkeypatch.setattr(n4.Spec, "estimate", counted)
    quick = [word for channel in "01" for word in ("--set", f"filters.{channel}.0.iterations=[2,2]")]
    wishes = ("--missing-channels", "--bias-correction", "all", *quick)
    assert call(workspace, "plan_and_preprocess", raw, *SMALL, *wishes, *HERE) == 0
    assert len(found) == 6
    assert call(workspace, "train", NAME, "0", *SHORT, *HERE) == 0
    scores = read_json(Workspace(workspace).dataset_folder(NAME).run("3d_fullres", "0").scores, Summary)
    assert scores.subsets.keys() == {"T1 + FLAIR", "T1", "FLAIR"} and len(found) == 6


def test_a_model_that_was_not_planned_for_it_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw, workspace = make_dataset(tmp_path / NAME, {}, cases=3), tmp_path / "workspace"
    assert call(workspace, "plan_and_preprocess", raw, *SMALL, *HERE) == 0
    assert call(workspace, "train", NAME, "0", *SHORT, *HERE) == 0
    shutil.copy(raw / "imagesTr" / "case_1_0000.nii.gz", tmp_path / "a_0000.nii.gz")
    capsys.readouterr()
    assert call(workspace, "predict", "-i", tmp_path / "a_0000.nii.gz", "-o", tmp_path / "out", *HERE) == 2
    assert "the model needs 2 channels" in capsys.readouterr().err
    run = autoseg.load_model(NAME, workspace, settings=SETTINGS)
    with pytest.raises(ModelError, match=r"lacks FLAIR, which the model needs: .*--missing-channels"):
        run.predict([np.ones(SHAPE, np.float32), None], spacing=SPACING)
    with pytest.raises(DatasetError, match="a_0001 is missing"):
        autoseg.predict(run, tmp_path / "a_0000.nii.gz", tmp_path / "out")
    assert "subsets" in json.loads(Workspace(workspace).dataset_folder(NAME).run("3d_fullres", "0").scores.read_text())


def test_a_required_channel_that_a_case_lacks_is_refused_when_planning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = make_dataset(tmp_path / NAME, LACKING)
    assert call(tmp_path / "workspace", "plan_and_preprocess", raw, *SMALL, "--require", "FLAIR", *HERE) == 2
    assert "--require FLAIR: case case_0 lacks it" in capsys.readouterr().err


def test_a_plan_that_does_not_know_of_gaps_is_not_trained(trained: Path, tmp_path: Path, capsys: Any) -> None:
    shutil.copytree(trained / "workspace", tmp_path / "workspace")
    path = Workspace(tmp_path / "workspace").dataset_folder(NAME).plan
    record = json.loads(path.read_text())
    record["configurations"]["3d_fullres"] |= {"missing": None, "inputs": []}
    path.write_text(json.dumps(record))
    assert call(tmp_path / "workspace", "train", NAME, "1", *SHORT, *HERE) == 2
    said = capsys.readouterr().err
    assert "case case_0 lacks FLAIR, which the model needs" in said and f"autoseg plan {NAME}" in said
