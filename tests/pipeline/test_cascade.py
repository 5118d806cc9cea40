"""A cascade is one command: the earlier stage first, on every fold; no network is shown what it has learned from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from autoseg.cli import main
from autoseg.errors import ModelError
from autoseg.inference.model import Model
from autoseg.preprocessing.arrays import read_array
from autoseg.preprocessing.priors import PriorStore, on_grid
from autoseg.preprocessing.store import CaseStore
from autoseg.settings import RunSettings
from autoseg.workspace import Workspace

pytestmark = pytest.mark.slow

NAME, CASES, SHAPE = "Dataset001_Cascade", 3, (32, 112, 112)
SETTINGS = RunSettings(device="cpu", threads=1)
CASCADE = ("-c", "3d_cascade_fullres")
SMALL = ("--mirror", "none", "--set", "network.features=[4,8,8]")
SHORT = ["--epochs", "1", "--set", "training.iterations_per_epoch=2", "--device", "cpu", "--threads", "1"]


def make_dataset(folder: Path) -> Path:
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(CASES):
        centre = np.array(SHAPE) / 2 + random.uniform(-3, 3, 3)
        distance = np.sqrt((((np.indices(SHAPE).T - centre) / (12, 42, 42)) ** 2).sum(-1)).T
        labels = (distance < 1).astype(np.uint8) + (distance < 0.6)
        image = (labels + random.normal(0, 0.2, SHAPE) + 1).astype(np.float32)
        for array, path in (
            (image, f"imagesTr/case_{number}_0000"),
            (np.array((0, 3, 7))[labels], f"labelsTr/case_{number}"),
        ):
            written = sitk.GetImageFromArray(array)
            written.SetSpacing((1.0, 1.0, 2.5))
            sitk.WriteImage(written, str(folder / f"{path}.nii.gz"))
    described = {
        "channel_names": {"0": "MR"},
        "labels": {"background": 0, "rim": 3, "core": 7},
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(described | {"numTraining": CASES}))
    return folder


def call(workspace: Path, *words: str | Path) -> int:
    return main([*map(str, words), "--workspace", str(workspace)])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the raw dataset and a workspace in which one command has trained fold 0 of the cascade."""
    folder = tmp_path_factory.mktemp("cascade")
    raw = make_dataset(folder / NAME)
    assert call(folder / "workspace", "plan_and_preprocess", raw, "--planner", "tiny", *CASCADE, *SMALL) == 0
    assert call(folder / "workspace", "train", NAME, "0", *CASCADE, *SHORT) == 0
    return folder


def times(folder: Path, pattern: str) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.glob(pattern)}


def test_each_grid_is_prepared_once(trained: Path) -> None:
    prepared = trained / "workspace" / NAME / "prepared"
    assert sorted(path.name for path in prepared.iterdir()) == ["3d_fullres", "3d_lowres"]


def test_every_fold_of_the_earlier_stage_comes_first(trained: Path) -> None:
    runs = trained / "workspace" / NAME / "runs"
    weights = sorted(runs.glob("*/*/weights.safetensors"), key=lambda path: path.stat().st_mtime_ns)
    folds = [f"3d_lowres/fold_{number}" for number in range(CASES)]
    assert [str(path.parent.relative_to(runs)) for path in weights] == [*folds, "3d_cascade_fullres/fold_0"]


def test_each_case_is_predicted_by_the_fold_that_did_not_train_on_it(trained: Path) -> None:
    files = Workspace(trained / "workspace").dataset_folder(NAME)
    plan, dataset = files.read_plan(), files.read_dataset()
    store = PriorStore(files.priors("3d_cascade_fullres"))
    resampler = plan.configurations["3d_cascade_fullres"].resampler
    full = CaseStore(files.prepared("3d_fullres"))
    for number, fold in enumerate(files.read_folds().folds):
        model = Model.read(files.run("3d_lowres", str(number)).root, settings=SETTINGS)
        for key in fold.validation:
            predicted = model.predict(list(dataset.case(key).image_files)).labels
            expected = on_grid(predicted, full.open(key).record, plan.labels, resampler)
            np.testing.assert_array_equal(read_array(store.path(key), (slice(None),) * 3), expected)
            assert len(np.unique(expected)) > 1


def test_validation_shows_the_networks_a_case_that_neither_stage_has_learned_from(trained: Path) -> None:
    run = Workspace(trained / "workspace").dataset_folder(NAME).run("3d_cascade_fullres", "0")
    model = Model.read(run.root, settings=SETTINGS)
    assert model.previous is not None
    assert (model.folds, model.previous.folds) == (("0",), ("0",))


def test_predicting_is_one_command_too_and_python_gives_the_same(trained: Path) -> None:
    raw, out = trained / NAME, trained / "out"
    image = raw / "imagesTr" / "case_1_0000.nii.gz"
    alike = ("--device", "cpu", "--threads", str(SETTINGS.threads))  # with more, sums are rounded otherwise
    assert call(trained / "workspace", "predict", "-i", image, "-o", out, "-d", NAME, *CASCADE, *alike) == 0
    written = sitk.GetArrayFromImage(sitk.ReadImage(str(out / "case_1.nii.gz")))
    folder = Workspace(trained / "workspace").dataset_folder(NAME).runs("3d_cascade_fullres")
    found = Model.read(folder, settings=SETTINGS).predict(sitk.ReadImage(str(image)))
    np.testing.assert_array_equal(written, sitk.GetArrayFromImage(found))
    assert set(np.unique(written).tolist()) <= {0, 3, 7}


def test_a_bundle_holds_both_stages(trained: Path) -> None:
    image = trained / NAME / "imagesTr" / "case_2_0000.nii.gz"
    folder = Workspace(trained / "workspace").dataset_folder(NAME).runs("3d_cascade_fullres")
    bundle = trained / "cascade.zip"
    assert call(trained / "workspace", "export", folder, "-o", bundle) == 0
    models = [Model.read(path, settings=SETTINGS) for path in (folder, bundle)]
    first, again = (model.predict(image).labels for model in models)
    np.testing.assert_array_equal(first, again)


def test_the_same_command_again_does_nothing_again(trained: Path) -> None:
    root = trained / "workspace" / NAME
    before = (
        times(root, "runs/*/*/weights.safetensors") | times(root, "priors/*/*") | times(root, "runs/*/*/validation/*")
    )
    assert call(trained / "workspace", "train", NAME, "0", *CASCADE, *SHORT) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_only_what_was_lost_is_made_again(trained: Path, tmp_path: Path) -> None:
    root = tmp_path / "workspace" / NAME
    shutil.copytree(trained / "workspace" / NAME, root)
    lost = root / "priors" / "3d_cascade_fullres" / "case_1.b2nd"
    kept = read_array(lost, (slice(None),) * 3)
    lost.unlink()
    shutil.rmtree(root / "runs" / "3d_lowres" / "fold_2")
    before = times(root, "runs/3d_lowres/fold_[01]/**/[!l]*") | times(
        root, "runs/3d_cascade_fullres/*/weights.safetensors"
    )
    assert call(root.parent, "train", NAME, "0", *CASCADE, *SHORT) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    np.testing.assert_array_equal(read_array(lost, (slice(None),) * 3), kept)
    assert (root / "runs" / "3d_lowres" / "fold_2" / "weights.safetensors").exists()


def test_what_is_damaged_between_the_stages_is_made_again(trained: Path, tmp_path: Path) -> None:
    root = tmp_path / "workspace" / NAME
    shutil.copytree(trained / "workspace" / NAME, root)
    (label_map,) = (root / "runs" / "3d_lowres" / "fold_0" / "validation").glob("*.nii.gz")
    priors = root / "priors" / "3d_cascade_fullres"
    damaged = [priors / "case_0.b2nd", priors / "case_1.json", label_map]
    whole = {path: path.read_bytes() for path in damaged}
    for path, content in whole.items():
        path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    assert call(root.parent, "train", NAME, "0", *CASCADE, *SHORT) == 0
    assert {path: path.read_bytes() for path in damaged} == whole


def test_fold_all_learns_from_predictions_of_networks_that_had_not_seen_the_case(trained: Path, tmp_path: Path) -> None:
    root = tmp_path / "workspace" / NAME
    shutil.copytree(trained / "workspace" / NAME, root)
    assert call(root.parent, "train", NAME, "all", *CASCADE, *SHORT) == 0
    model = Model.read(root / "runs" / "3d_cascade_fullres", ["all"], settings=SETTINGS)
    assert model.previous is not None
    assert model.previous.folds == ("0", "1", "2")
    assert not (root / "runs" / "3d_lowres" / "fold_all").exists()


def test_a_case_that_no_fold_validates_is_named_before_the_second_stage_begins(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "workspace" / NAME
    shutil.copytree(trained / "workspace" / NAME, root)
    folds = json.loads((root / "folds.json").read_text())
    folds["folds"][1] |= {"train": ["case_0", "case_1"], "validation": []}
    missing = sorted(
        {f"case_{number}" for number in range(CASES)} - {key for fold in folds["folds"] for key in fold["validation"]}
    )
    (root / "folds.json").write_text(json.dumps(folds))
    assert call(root.parent, "train", NAME, "all", *CASCADE, *SHORT) == 2
    assert f"case {missing[0]} is in no fold's validation cases" in capsys.readouterr().err
    assert not (root / "runs" / "3d_cascade_fullres" / "fold_all").exists()


def test_a_cascade_without_its_earlier_stage_is_refused(trained: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(trained / "workspace" / NAME / "runs" / "3d_cascade_fullres", runs / "3d_cascade_fullres")
    with pytest.raises(ModelError, match="needs the predictions of 3d_lowres"):
        Model.read(runs / "3d_cascade_fullres", settings=SETTINGS)


def test_an_earlier_stage_of_another_dataset_is_refused_at_once(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "workspace" / NAME
    shutil.copytree(trained / "workspace" / NAME, root)
    path = root / "runs" / "3d_lowres" / "fold_1" / "plan.json"
    plan = json.loads(path.read_text())
    plan["labels"]["names"] = {"background": 0, "rim": 7, "core": 3}
    del plan["checksum"]  # somebody stands by what was edited
    path.write_text(json.dumps(plan))
    assert call(root.parent, "train", NAME, "1", *CASCADE, *SHORT) == 2
    assert "fold_1 was trained when labels of the plan were others" in capsys.readouterr().err


def test_a_change_may_name_a_stage(trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tmp_path / "workspace" / NAME
    shutil.copytree(trained / "workspace" / NAME, root)
    shutil.rmtree(root / "runs" / "3d_lowres" / "fold_1")
    named = [
        "--set",
        "3d_lowres.optimizer.momentum=0.5",
        "--set",
        "3d_cascade_fullres.batch_size=1",
        "--set",
        "2d.slices=3",
    ]
    assert call(root.parent, "train", NAME, "1", *CASCADE, *SHORT, *named) == 0
    assert "2d.slices=3 changes nothing here" in caplog.text
    first, second = (
        json.loads((root / "runs" / stage / "fold_1" / "plan.json").read_text())["configurations"][stage]
        for stage in ("3d_lowres", "3d_cascade_fullres")
    )
    assert (first["optimizer"]["momentum"], first["batch_size"]) == (0.5, 2)
    assert (second["optimizer"]["momentum"], second["batch_size"]) == (0.95, 1)
