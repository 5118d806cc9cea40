"""Networks of single modalities where cases lack some: who has its channel decides, from training to prediction."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from run_settings import SETTINGS

from autoseg.bundle.card import card
from autoseg.bundle.trained import read_trained
from autoseg.cli import main
from autoseg.core.fusion import STAPLE, weights_of_those
from autoseg.core.missing import MissingChannels
from autoseg.core.records import read_json
from autoseg.errors import ModelError
from autoseg.evaluation.scores import Summary
from autoseg.evaluation.selection import Selection
from autoseg.inference.ensemble import Ensemble
from autoseg.inference.model import Model
from autoseg.parts.inputs import presence
from autoseg.workspace import DatasetFolder, Workspace

pytestmark = pytest.mark.slow

NAME, SHAPE, SPACING, CASES = "Dataset001_Gaps", (12, 26, 24), (2.0, 1.0, 1.0), 6
CHANNELS = ("T1", "FLAIR")
LACKING = {0: "FLAIR", 1: "T1", 4: "FLAIR"}
HERE = ("--device", "cpu", "--threads", "1", "--precision", "float32")
SHORT = ("--epochs", "1", "--set", "training.iterations_per_epoch=3")
MEMBERS = ("3d_fullres_FLAIR", "3d_fullres_T1")


def image_of(number: int, channel: int) -> sitk.Image:
    labels, random = labels_of(number), np.random.default_rng((number, channel))
    image = sitk.GetImageFromArray((1 + labels + random.normal(0, 0.2, SHAPE)).astype(np.float32))
    image.SetSpacing(SPACING[::-1])
    return image


def labels_of(number: int) -> np.ndarray:
    labels = np.zeros(SHAPE, np.uint8)
    labels[3:9, 8:18, 6 + number : 14 + number] = 1
    return labels


def make_dataset(folder: Path) -> Path:
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    for number in range(CASES):
        for channel, name in enumerate(CHANNELS):
            if LACKING.get(number) != name:
                path = folder / "imagesTr" / f"case_{number}_{channel:04d}.nii.gz"
                sitk.WriteImage(image_of(number, channel), str(path))
        labels = sitk.GetImageFromArray(labels_of(number))
        labels.SetSpacing(SPACING[::-1])
        sitk.WriteImage(labels, str(folder / "labelsTr" / f"case_{number}.nii.gz"))
    (folder / "dataset.json").write_text(
        '{"channel_names": {"0": "T1", "1": "FLAIR"}, "labels": {"background": 0, "organ": 1}, '
        f'"file_ending": ".nii.gz", "numTraining": {CASES}}}'
    )
    return folder


def call(workspace: Path, *words: object) -> int:
    return main([*map(str, words), "--workspace", str(workspace)])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folds of a network that sees all channels, and of one for each, compared and made to one model."""
    folder = tmp_path_factory.mktemp("gaps")
    raw, workspace = make_dataset(folder / NAME), folder / "workspace"
    small = ("--planner", "tiny", "--set", "network.features=[4,8,8]", "--mirror", "none", "--fusion", "decision")
    assert call(workspace, "plan_and_preprocess", raw, *small, "-c", "3d_fullres", *HERE) == 0
    files = files_of(folder)
    folds = files.folds.read_text()
    record = json.loads(folds)
    record["folds"] = [
        {"train": ["case_3", "case_4", "case_5"], "validation": ["case_0", "case_1", "case_2"]},
        {"train": ["case_0", "case_1", "case_2"], "validation": ["case_3", "case_4", "case_5"]},
    ]
    files.folds.write_text(json.dumps(record))
    for name in ("3d_fullres", *MEMBERS):
        assert call(workspace, "train", NAME, "cv", "-c", name, *SHORT, *HERE) == 0
    return folder


def files_of(folder: Path) -> DatasetFolder:
    return Workspace(folder / "workspace").dataset_folder(NAME)


def test_the_plan_says_what_each_network_needs(trained: Path) -> None:
    found = files_of(trained).read_plan().configurations
    assert found["3d_fullres"].missing == MissingChannels({"T1": 0.1667, "FLAIR": 0.3333})
    assert found["3d_fullres"].inputs == (presence.Spec(),)
    for name, other, channel in (("3d_fullres_T1", "FLAIR", 0), ("3d_fullres_FLAIR", "T1", 1)):
        assert found[name].channels == (channel,) and found[name].inputs == ()
        assert found[name].missing == MissingChannels({other: 0.0}, validate=False)
        task = files_of(trained).read_plan().task(name)
        assert task.problem_without((1 - channel,)) is None
        assert f"lacks {CHANNELS[channel]}, which the model needs" in (task.problem_without((channel,)) or "")


def test_a_network_is_trained_and_validated_on_the_cases_that_have_its_channel(trained: Path) -> None:
    files = files_of(trained)
    lacking = {
        channel: {f"case_{number}" for number, name in LACKING.items() if name == channel} for channel in CHANNELS
    }
    for channel in CHANNELS:
        seen: set[str] = set()
        for fold, split in enumerate(files.read_folds().folds):
            run = files.run(f"3d_fullres_{channel}", str(fold))
            assert set(read_json(run.scores, Summary).cases) == set(split.validation) - lacking[channel]
            seen |= set(read_json(run.scores, Summary).cases)
        assert seen == {f"case_{number}" for number in range(CASES)} - lacking[channel]


@pytest.fixture(scope="module")
def selected(trained: Path) -> Selection:
    words = [word for name in MEMBERS for word in ("-c", name)]
    assert call(trained / "workspace", "select", NAME, *words, *HERE) == 0
    return read_json(files_of(trained).selection / "selection.json", Selection)


def test_only_what_predicts_every_case_can_be_chosen(selected: Selection) -> None:
    assert {model.members for model in selected.compared} == {MEMBERS}
    assert {model.combined for model in selected.compared} == {"mean", STAPLE} and selected.cases == CASES
    assert selected.missing["3d_fullres_T1"].startswith("1 of 6 cases lack channels that it needs")
    assert selected.missing["3d_fullres_FLAIR"].startswith("2 of 6 cases lack channels that it needs")


def test_every_subset_that_occurs_is_scored(trained: Path, selected: Selection) -> None:
    """Without FLAIR are the cases that lack it, and those that have both, in which the network of FLAIR is left out."""
    scores = selected.scores.subsets
    assert list(scores) == ["T1 + FLAIR", "FLAIR", "T1"]
    withheld = not selected.postprocessing.corrections
    counts = {name: row["dice"].cases for name, row in scores.items()}
    assert counts == ({"T1 + FLAIR": 3, "FLAIR": 4, "T1": 5} if withheld else {"T1 + FLAIR": 3, "FLAIR": 1, "T1": 2})
    if withheld:  # alone, each is what its validation has found
        files = files_of(trained)
        for channel in CHANNELS:
            runs = [files.run(f"3d_fullres_{channel}", fold) for fold in "01"]
            found = {key: case for run in runs for key, case in read_json(run.scores, Summary).cases.items()}
            mean = np.mean([case["organ"]["dice"] or 0.0 for case in found.values()])
            assert scores[channel]["dice"].mean == pytest.approx(mean, abs=1e-9)
    told = card(read_trained(files_of(trained).selected))
    assert "may lack        T1, FLAIR" in told and "channels T1 + FLAIR: " in told


def test_predict_leaves_out_who_is_blind_and_says_so(
    trained: Path, selected: Selection, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "in").mkdir()
    for name, channels in (("both", (0, 1)), ("only_t1", (0,)), ("only_flair", (1,))):
        for channel in channels:
            sitk.WriteImage(image_of(9, channel), str(tmp_path / "in" / f"{name}_{channel:04d}.nii.gz"))
    given = ("predict", "-i", tmp_path / "in", "-o", tmp_path / "out", "-m", files_of(trained).selected, *HERE)
    with caplog.at_level(logging.INFO, "autoseg"):
        assert call(trained / "workspace", *given) == 0
    assert "only_t1: lacks FLAIR, so that 3d_fullres_FLAIR is left out of the ensemble; without" in caplog.text
    assert "only_flair: lacks T1, so that 3d_fullres_T1 is left out of the ensemble; without" in caplog.text
    assert "both: lacks" not in caplog.text
    model = Model.read(files_of(trained).selected, settings=SETTINGS)
    assert isinstance(model, Ensemble)
    for name, channel in (("only_t1", 0), ("only_flair", 1)):
        (alone,) = (member for member in model.members if member.task.seen == (channel,))
        parts = [image_of(9, number) if number == channel else None for number in (0, 1)]
        found = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / f"{name}.nii.gz")))
        if not model.postprocessing:
            np.testing.assert_array_equal(found, sitk.GetArrayFromImage(alone.predict(parts)))
        np.testing.assert_array_equal(found, sitk.GetArrayFromImage(model.predict(parts)))
    with pytest.raises(ModelError, match="every channel is None"):
        model.predict([None, None])


def test_a_network_trained_for_missing_channels_stays_in(trained: Path) -> None:
    words = [word for name in ("3d_fullres", "3d_fullres_T1") for word in ("-c", name)]
    assert call(trained / "workspace", "select", NAME, *words, "--no-mirroring-test", *HERE) == 0
    selection = read_json(files_of(trained).selection / "selection.json", Selection)
    assert {model.members for model in selection.compared} == {("3d_fullres",), ("3d_fullres", "3d_fullres_T1")}
    assert set(selection.missing) == {"3d_fullres_T1"}
    files = files_of(trained)
    members = tuple(Model.read(files.runs(name), settings=SETTINGS) for name in ("3d_fullres", "3d_fullres_T1"))
    both = Ensemble(members, (0.5, 0.5), SETTINGS)
    assert both.left_out((0,)) == ("3d_fullres_T1",) and both.left_out((1,)) == () and both.left_out(()) == ()
    flair = [None, image_of(9, 1)]
    np.testing.assert_array_equal(*(sitk.GetArrayFromImage(model.predict(flair)) for model in (both, members[0])))


def test_a_required_channel_is_named_in_any_case_and_others_by_what_there_is(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("plan_and_preprocess", trained / NAME, "--planner", "tiny", "--fusion", "decision", *HERE)
    assert call(tmp_path / "w", *asked, "--require", "t1") == 2
    assert "--require T1: case case_1 lacks it" in " ".join(capsys.readouterr().err.split())
    assert call(tmp_path / "w", *asked, "--require", "PD") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "--require: there is no channel 'PD'; name one of T1 (0), FLAIR (1), or its number" in said


def test_weights_of_those_that_are_there() -> None:
    weights = ((0.5, 0.2, 0.0), (0.3, 0.8, 0.0), (0.2, 0.0, 1.0))
    np.testing.assert_allclose(weights_of_those(weights, [0, 1]), [[0.625, 0.2, 7 / 18], [0.375, 0.8, 11 / 18]])
    np.testing.assert_allclose(weights_of_those(weights, [0, 1, 2]), weights)
    np.testing.assert_allclose(weights_of_those(weights, [2]), [[1, 1, 1]])
