"""Fusion at the input, in the middle and at the decision in one workspace, from the flag to the chosen model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from measured_demo import HERE, call, plan_of

import autoseg
from autoseg.core.fusion import Fusion
from autoseg.core.geometry import Geometry
from autoseg.core.records import read_json
from autoseg.errors import UsageError
from autoseg.evaluation.selection import Selection
from autoseg.parts.readers import read_labels, write_channels, write_labels
from autoseg.pipeline.finish_plan import measure_here
from autoseg.pipeline.plan_file import is_untouched_draft
from autoseg.settings import RunSettings
from autoseg.workspace import DatasetFolder, Workspace

pytestmark = pytest.mark.slow

NAME, SHAPE, SPACING = "Dataset001_Levels", (12, 26, 24), (2.0, 1.0, 1.0)
MACHINE = ("--target", "memory=2GB,bandwidth=10GB/s", "--time", "20s")  # nothing is timed here
SHORT = ("--set", "training.epochs=1", "--set", "training.iterations_per_epoch=3", "--set", "batch_size=2")
MEMBERS = ("3d_fullres", "3d_fullres_middle", "3d_fullres_T1", "3d_fullres_FLAIR")


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two channels; a small box that is bright in both."""
    folder, geometry = tmp_path_factory.mktemp("raw") / NAME, Geometry.plain(SHAPE, SPACING)
    random = np.random.default_rng(0)
    for number in range(5):
        labels = np.zeros(SHAPE, np.uint8)
        labels[3:9, 8:18, 5 + number : 15 + number] = 1
        for channel in range(2):
            image = (1 + labels + random.normal(0, 0.2, SHAPE)).astype(np.float32)
            write_channels(image[None], geometry, folder / "imagesTr" / f"case_{number}_{channel:04d}.nii.gz")
        write_labels(labels, geometry, folder / "labelsTr" / f"case_{number}.nii.gz")
    described = {"channel_names": {"0": "T1", "1": "FLAIR"}, "labels": {"background": 0, "organ": 1}}
    (folder / "dataset.json").write_text(json.dumps(described | {"file_ending": ".nii.gz", "numTraining": 5}))
    return folder


@pytest.fixture(scope="module")
def trained(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> DatasetFolder:
    """Fold 0 of every level, three steps each."""
    files = Workspace(tmp_path_factory.mktemp("levels")).dataset_folder(NAME)
    asked = ("--fusion", "input,middle,decision", "-c", "3d_fullres_middle", "--mirror", "none")
    assert call(files, "plan_and_preprocess", str(raw), *asked, *MACHINE, *SHORT) == 0
    for name in MEMBERS:
        assert call(files, "train", NAME, "0", "-c", name, "--no-report", *HERE) == 0
    return files


def test_every_level_is_a_configuration_and_they_share_the_prepared_cases(trained: DatasetFolder) -> None:
    plan = plan_of(trained)
    assert plan["default"] == "3d_fullres" and {*MEMBERS} < {*plan["configurations"]}
    assert plan["fusion"]["level"] == "decision" and [each["level"] for each in plan["beside"]] == ["middle"]
    networks = {name: plan["configurations"][name]["network"]["name"] for name in MEMBERS}
    assert {name for name, network in networks.items() if network == "multi_encoder_unet"} == {"3d_fullres_middle"}
    assert {path.name for path in (trained.root / "prepared").iterdir()} == {"3d_fullres"}
    assert len([*trained.prepared("3d_fullres").glob("*/case.json")]) == 5


def test_status_shows_a_line_for_each(trained: DatasetFolder) -> None:
    lines = autoseg.status(workspace=trained.root.parent)
    assert {line.configuration: line.state for line in lines} == dict.fromkeys(MEMBERS, "finished")
    assert all(line.validated for line in lines)


def test_select_scores_each_and_every_ensemble_and_the_chosen_one_predicts(
    trained: DatasetFolder, raw: Path, tmp_path: Path
) -> None:
    assert call(trained, "select", NAME, "-f", "0", "--no-mirroring-test", "--no-report") == 0
    selection = read_json(trained.selection / "selection.json", Selection)
    means = {model.members for model in selection.compared if model.combined == "mean" and model.weights is None}
    assert len(means) == 2 ** len(MEMBERS) - 1 and {(name,) for name in MEMBERS} < means
    assert selection.missing == {}
    for model in (("-m", str(trained.selected)), ("-d", NAME, "-c", "3d_fullres_middle")):
        out = tmp_path / model[-1].rpartition("/")[2]
        case = [str(raw / "imagesTr" / f"case_0_{channel:04d}.nii.gz") for channel in range(2)]
        assert call(trained, "predict", "-i", *case, "-o", str(out), *model, *HERE) == 0
        assert read_labels(out / "case_0.nii.gz")[0].shape == SHAPE


def test_a_training_that_was_begun_goes_on_when_another_fusion_is_planned_beside(
    trained: DatasetFolder, raw: Path
) -> None:
    weights = trained.run("3d_fullres", "0").weights
    before = weights.read_bytes()
    levels = ("--fusion", "input,middle:attention", "--mirror", "none")
    assert call(trained, "plan", NAME, *levels, *MACHINE, *SHORT) == 0
    assert "3d_fullres_middle_attention" in plan_of(trained)["configurations"]
    longer = ("-c", "3d_fullres", "--epochs", "2", "--extend", "--no-report")
    assert call(trained, "train", NAME, "0", *longer, *HERE) == 0
    assert weights.read_bytes() != before


def test_a_change_may_name_the_configuration_in_the_middle_alone(trained: DatasetFolder, tmp_path: Path) -> None:
    written = tmp_path / "plan.json"
    change = ("--set", "3d_fullres_middle.training.epochs=7", "-o", str(written))
    assert call(trained, "plan", NAME, "--fusion", "input,middle", *MACHINE, *change) == 0
    configurations = json.loads(written.read_text())["configurations"]
    assert [name for name, one in configurations.items() if one["training"]["epochs"] == 7] == ["3d_fullres_middle"]


def test_a_draft_in_python_notes_both_and_is_measured_for_both(raw: Path, tmp_path: Path) -> None:
    plan = autoseg.plan_and_preprocess(raw, tmp_path, fusion=["input", "middle"], configurations=["3d_fullres"])
    files = Workspace(tmp_path).dataset_folder(NAME)
    assert plan.draft and plan.beside == (Fusion("middle"),) and is_untouched_draft(files)
    measure_here(files.read_plan(), files, seconds=1.0, settings=RunSettings(device="cpu", threads=1))
    found = files.read_plan()
    (joined,) = (name for name in found.configurations if name.endswith("_middle"))
    one, other = found.configurations[joined], found.configurations[found.default]
    assert not found.draft and found.beside == plan.beside
    assert one.cost is not None and other.cost is not None and one.cost.allowed == other.cost.allowed


def test_levels_that_are_none_are_refused_in_python(raw: Path, tmp_path: Path) -> None:
    for wrong in (3, [3], [], ["input", "input"], "input,unpaired"):
        with pytest.raises(UsageError, match="fusion"):
            autoseg.plan_and_preprocess(raw, tmp_path, fusion=wrong)  # type: ignore[arg-type]
