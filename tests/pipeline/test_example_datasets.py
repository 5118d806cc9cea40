"""Masks, series, echoes and colour beside another channel go the whole way, each as its example describes it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from example_datasets import EXAMPLES, make, write_image

from autoseg.cli import main
from autoseg.core.geometry import Geometry
from autoseg.core.masks import MaskLabels
from autoseg.data.dataset import Dataset, ImageSource
from autoseg.data.folds import Fold
from autoseg.data.images import read_case
from autoseg.data.label_maps import files_in, read_label_map
from autoseg.inference.model import Model
from autoseg.inspection.check import check_headers
from autoseg.parts.readers import read_image, write_channels
from autoseg.pipeline.train_fold import FoldRun
from autoseg.pipeline.validate_subsets import combinations_of
from autoseg.plan import read_plan
from autoseg.settings import RunSettings
from autoseg.workspace import Workspace

pytestmark = pytest.mark.slow

NAMES = (
    "overlapping_masks", "overlapping_masks_one_file", "time_series", "chosen_volumes", "multi_echo",
    "colour_and_infrared",
)  # fmt: skip
GEOMETRY = Geometry.plain((8, 20, 24), (2.5, 1.0, 1.0))


def command(*words: object) -> int:
    return main([*map(str, words)])


def given(dataset: Dataset, folder: Path) -> Path:
    """The images of all cases as they are named for prediction."""
    folder.mkdir()
    for case in dataset.cases:
        for number, path in enumerate(case.image_files):
            ending = "".join(path.suffixes)
            shutil.copy(path, folder / f"{case.key}_{number:04d}{ending}")
    return folder


@pytest.fixture(scope="module", params=NAMES)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Path, Path]:
    """A dataset, a workspace and the folder of a fold that was trained for two iterations."""
    folder = tmp_path_factory.mktemp(request.param)
    raw, workspace = folder / "Dataset001_Example", folder / "workspace"
    raw.mkdir()
    dataset = make(EXAMPLES / f"{request.param}.json", raw, GEOMETRY)
    where = ("--workspace", workspace)
    assert command("check", raw, *where) == 0
    assert command("plan_and_preprocess", raw, "--planner", "tiny", *where) == 0
    path = workspace / raw.name / "plan.json"
    plan = json.loads(path.read_text())
    for configuration in plan["configurations"].values():
        configuration["training"] |= {"epochs": 1, "iterations_per_epoch": 2}
    path.write_text(json.dumps(plan))
    assert command("train", 1, 0, "--device", "cpu", *where) == 0
    runs = Workspace(workspace).dataset_folder(raw.name)
    return dataset, workspace, runs.run(plan["default"], "0").root


def test_what_was_trained_predicts_and_is_scored(trained: tuple[Dataset, Path, Path], tmp_path: Path) -> None:
    dataset, workspace, run = trained
    images = given(dataset, tmp_path / "images")
    assert command("predict", "-i", images, "-o", tmp_path / "out", "--workspace", workspace) == 0
    for case in dataset.cases:
        files = files_in(tmp_path / "out", case.key, dataset.file_ending, dataset.labels)
        found, geometry = read_label_map(files, dataset.labels)
        assert geometry.shape == found.shape == read_case(case).geometry.shape
        by_path = Model.read(run).predict(list(case.image_files))
        np.testing.assert_array_equal(by_path.labels, found)
        array = Model.read(run).predict(read_case(case).array, read_case(case).geometry.spacing)
        if dataset.file_ending != ".png":  # an array is a volume
            masks = isinstance(dataset.labels, MaskLabels)
            np.testing.assert_array_equal(array, np.stack([*dataset.labels.split(found)]) if masks else found)
    reference = Path(dataset.folder) / "labelsTr"
    if reference.is_dir():
        assert command("evaluate", reference, tmp_path / "out") == 0


def test_validation_predicted_the_same(trained: tuple[Dataset, Path, Path]) -> None:
    dataset, _, run = trained
    (key,) = json.loads((run / "validation" / "scores.json").read_text())["cases"]
    files = files_in(run / "validation", key, dataset.file_ending, dataset.labels)
    found = Model.read(run).predict(list(dataset.case(key).image_files)).labels
    np.testing.assert_array_equal(read_label_map(files, dataset.labels)[0], found)


@pytest.fixture
def chosen(tmp_path: Path) -> Dataset:
    folder = tmp_path / "Dataset002_Chosen"
    folder.mkdir()
    return make(EXAMPLES / "chosen_volumes.json", folder, GEOMETRY)


def test_channels_are_the_volumes_that_were_chosen(chosen: Dataset) -> None:
    case = chosen.cases[0]
    t2, dwi = (read_image([path]).array for path in case.image_files)
    np.testing.assert_array_equal(read_case(case).array, np.stack([t2[0], dwi[0], dwi[3]]))
    swapped = replace(case, images=tuple(ImageSource(str(case.image_files[1]), number) for number in (1, 0, 3, 2)))
    np.testing.assert_array_equal(read_case(swapped).array, dwi[[1, 0, 3, 2]])


def test_another_choice_is_measured_and_prepared_anew(chosen: Dataset, tmp_path: Path) -> None:
    raw, workspace = Path(chosen.folder), tmp_path / "workspace"
    contents, measured = [], []
    for volume in (3, 2):
        described = json.loads((raw / "dataset.json").read_text())
        described["channel_names"]["2"]["volume"] = volume
        (raw / "dataset.json").write_text(json.dumps(described))
        assert command("plan_and_preprocess", raw, "--planner", "tiny", "--workspace", workspace) == 0
        files = Workspace(workspace).dataset_folder(raw.name)
        measured.append(files.read_fingerprint().cases["first"].channels[2].voxels)
        record = next(files.prepared("3d_fullres").glob("first/*.json"))
        contents.append(json.loads(record.read_text())["content"])
        assert read_plan(files.plan).channel_sources[2].volume == volume
    assert len(set(contents)) == len(set(measured)) == 2


def test_volumes_of_one_file_are_withheld_together_in_validation(chosen: Dataset, tmp_path: Path) -> None:
    raw, workspace = Path(chosen.folder), tmp_path / "workspace"
    asked = ("--planner", "tiny", "--missing-channels", "-c", "3d_fullres", "--workspace", workspace)
    assert command("plan_and_preprocess", raw, *asked) == 0
    files = Workspace(workspace).dataset_folder(raw.name)
    run = FoldRun(files, files.read_plan(), "0", Fold(("first",), ("second",)), RunSettings())
    assert [*combinations_of(run, chosen)] == [(), (0,), (1, 2)]


def test_volumes_that_a_file_does_not_hold_are_named(chosen: Dataset, tmp_path: Path, capsys) -> None:
    write_image(chosen.cases[1].image_files[1], 3, GEOMETRY)
    (problem,) = check_headers(chosen, 1)
    assert problem.what == "holds 3 volumes, but channel 2 (b1400) is volume 3" and problem.severity == "error"
    write_image(chosen.cases[1].image_files[0], 2, GEOMETRY)
    assert [found.what for found in check_headers(chosen, 1)] == [
        "holds 2 volumes, but channel 0 (T2) says no volume",
        "holds 3 volumes, but channel 2 (b1400) is volume 3",
    ]
    assert command("check", chosen.folder, "--workspace", tmp_path / "workspace") == 2
    assert "second_0001.nii.gz" in capsys.readouterr().out


@pytest.mark.parametrize("trained", ["chosen_volumes"], indirect=True)
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("missing", "new_0001 is missing: the model takes channels from 2 files"),
        ("short", "the model takes volume 3, counted from 0, of new_0001.nii.gz, which holds 2 volumes"),
        ("many", "the model takes one volume of new_0000.nii.gz, which holds 2 volumes"),
        ("twice", "stands beside"),
    ],
)
def test_images_to_predict_without_what_is_taken_of_them(trained, tmp_path: Path, spoil, said, capsys) -> None:
    _, workspace, _ = trained
    folder = tmp_path / "images"
    write_image(folder / "new_0000.nii.gz", 2 if spoil == "many" else 1, GEOMETRY)
    write_image(folder / "new_0001.nii.gz", 2 if spoil == "short" else 4, GEOMETRY)
    if spoil == "missing":
        (folder / "new_0001.nii.gz").unlink()
    elif spoil == "twice":
        write_channels(np.zeros((1, *GEOMETRY.shape), np.float32), GEOMETRY, folder / "new_0000.mha")
    code = command("predict", "-i", folder, "-o", tmp_path / "out", "--workspace", workspace)
    assert code == 2 and said in capsys.readouterr().err
