"""Masks that overlap without being nested, from their files to scores, a model in one file and predictions."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

import autoseg
from autoseg.cli import main
from autoseg.core.geometry import Geometry
from autoseg.core.masks import MaskLabels
from autoseg.core.records import read_json
from autoseg.data.fingerprint import Fingerprint
from autoseg.data.label_maps import files_in, read_label_map, write_label_map
from autoseg.evaluation.scores import Summary
from autoseg.inference.model import Model
from autoseg.parts.readers import write_channels, write_labels
from autoseg.preprocessing.store import CaseStore
from autoseg.workspace import Workspace

pytestmark = pytest.mark.slow

NAME, CASES = "Dataset001_Chest", 6
MASKS = ("lung", "heart", "clavicle")
GEOMETRY = Geometry.plain((8, 18, 22), (3.0, 1.0, 1.0))
KINDS = {"files": MaskLabels(MASKS, absent_are_empty=True), "channels": MaskLabels(MASKS, in_channels=True)}


def masks(number: int) -> np.ndarray:
    """(masks, z, y, x): three balls, each of which overlaps the next; the third case has no clavicle."""
    grid, found = np.indices(GEOMETRY.shape), []
    aside = np.random.default_rng(number).uniform(-1, 1, 3)
    for place in ((4, 8, 7), (4, 9, 12), (4, 10, 17)):
        centre, scale = np.add(place, aside), np.array((2, 1, 1))
        found.append((((grid.T - centre) * scale) ** 2).sum(-1).T < 5.0**2)
    if number == 2:
        found[2][:] = False
    return np.stack(found)


def make(raw: Path, labels: MaskLabels) -> None:
    for number in range(CASES):
        key, drawn = f"case_{number}", masks(number)
        noise = np.random.default_rng(number).normal(0, 0.1, GEOMETRY.shape)
        image = (1 + drawn[0] + 2 * drawn[1] + 4 * drawn[2] + noise).astype(np.float32)
        write_channels(image[None], GEOMETRY, raw / "imagesTr" / f"{key}_0000.nii.gz")
        files = files_in(raw / "labelsTr", key, ".nii.gz", labels)
        files[0].parent.mkdir(parents=True, exist_ok=True)
        write_label_map(labels.joined(drawn, GEOMETRY.shape), GEOMETRY, files, labels)
        if number == 2 and not labels.in_channels:
            files[2].unlink()
    fields = {"masks_in_channels": labels.in_channels, "absent_masks_are_empty": labels.absent_are_empty}
    described = {"channel_names": {"0": "X-ray"}, "masks": MASKS, "numTraining": CASES, "file_ending": ".nii.gz"}
    (raw / "dataset.json").write_text(json.dumps(described | fields))


def command(*words: object) -> int:
    return main([*map(str, words)])


@pytest.fixture(scope="module", params=KINDS)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, MaskLabels]:
    """A folder with a dataset and a workspace in which one fold of two configurations has been trained, briefly."""
    folder, labels = tmp_path_factory.mktemp("masks"), KINDS[request.param]
    raw, where = folder / NAME, ("--workspace", folder / "workspace")
    make(raw, labels)
    assert command("check", raw, *where) == 0
    assert command("plan_and_preprocess", raw, "--planner", "tiny", "--stratify", "labels", *where) == 0
    path = folder / "workspace" / NAME / "plan.json"
    plan = json.loads(path.read_text())
    for configuration in plan["configurations"].values():
        configuration["training"] |= {"epochs": 1, "iterations_per_epoch": 12}
    path.write_text(json.dumps(plan))
    for name in plan["configurations"]:
        assert command("train", 1, 0, "-c", name, "--device", "cpu", *where) == 0
    return folder, labels


def read(folder: Path, key: str, labels: MaskLabels) -> np.ndarray:
    return read_label_map(files_in(folder, key, ".nii.gz", labels), labels)[0]


def test_what_is_measured_and_prepared_are_the_masks(trained: tuple[Path, MaskLabels]) -> None:
    folder, labels = trained
    files = Workspace(folder / "workspace").dataset_folder(NAME)
    fingerprint = read_json(files.fingerprint, Fingerprint)
    held = [(1, 2) if number == 2 else (1, 2, 3) for number in range(CASES)]
    assert [case.labels for case in fingerprint.cases.values()] == held
    assert len(fingerprint.structures) == len(MASKS)
    assert [structure.cases for structure in fingerprint.structures if structure] == [CASES, CASES, CASES - 1]
    plan = files.read_plan()
    assert plan.labels == labels
    case = CaseStore(files.prepared("3d_fullres")).open("case_0")
    drawn = masks(0)
    for number, mask in enumerate(drawn, 1):
        share = case.foreground.present[number] / np.prod(case.shape)
        assert share == pytest.approx(mask.mean(), rel=0.4)  # the image may have been cropped and resampled
    assert case.foreground.present.keys() == {1, 2, 3}


def test_predictions_are_written_as_the_references_are(trained: tuple[Path, MaskLabels], tmp_path: Path) -> None:
    folder, labels = trained
    raw, where = folder / NAME, ("--workspace", folder / "workspace")
    assert command("predict", "-i", raw / "imagesTr", "-o", tmp_path / "out", *where) == 0
    written = {path.name for path in (tmp_path / "out").glob("*.nii.gz")}
    names = [""] if labels.in_channels else [f"_{name}" for name in MASKS]
    assert written == {f"case_{number}{name}.nii.gz" for number in range(CASES) for name in names}
    found = np.stack([read(tmp_path / "out", f"case_{number}", labels) for number in range(CASES)])
    assert found.any() and (found & 1).any() and (found & 2).any()
    assert command("evaluate", raw / "labelsTr", tmp_path / "out", "-o", tmp_path / "out") == 0
    summary = read_json(tmp_path / "out" / "scores.json", Summary)
    assert list(summary.labels) == list(MASKS) and len(summary.cases) == CASES
    again = ("predict", "-i", raw / "imagesTr", "-o", tmp_path / "out", *where)
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.nii.gz")}
    assert command(*again, "--continue") == 0
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.nii.gz")} == before
    lost = files_in(tmp_path / "out", "case_1", ".nii.gz", labels)[-1]
    whole = sitk.GetArrayFromImage(sitk.ReadImage(str(lost)))
    lost.unlink()
    assert command(*again, "--continue") == 0
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(lost))), whole)


def test_validation_wrote_the_same_files_and_scored_each_mask(trained: tuple[Path, MaskLabels], tmp_path: Path) -> None:
    folder, labels = trained
    files = Workspace(folder / "workspace").dataset_folder(NAME)
    run = files.run(files.read_plan().default, "0")
    keys = files.read_folds()[0].validation
    summary = read_json(run.scores, Summary)
    assert set(summary.cases) == set(keys) and list(summary.labels) == list(MASKS)
    model = Model.read(run.root)
    for key in keys:
        stored = read(run.validation, key, labels)
        image = folder / NAME / "imagesTr" / f"{key}_0000.nii.gz"
        prediction = model.predict(image)
        np.testing.assert_array_equal(prediction.labels, stored)
        np.testing.assert_array_equal(np.stack([*prediction.masks.values()]), np.stack([*labels.split(stored)]))
        if "case_2" == key:
            continue
        dice = summary.cases[key]["heart"]["dice"]
        one, other = masks(int(key[-1]))[1], stored >> 1 & 1
        assert dice == pytest.approx(2 * (one & (other > 0)).sum() / (one.sum() + other.sum()))
    assert list(prediction.masks) == list(MASKS)


def test_a_perfect_prediction_scores_one_for_every_mask(trained: tuple[Path, MaskLabels], tmp_path: Path) -> None:
    folder, labels = trained
    raw = folder / NAME
    for number in range(CASES):
        whole = labels.joined(masks(number), GEOMETRY.shape)
        write_label_map(whole, GEOMETRY, files_in(tmp_path, f"case_{number}", ".nii.gz", labels), labels)
    assert command("evaluate", raw / "labelsTr", tmp_path, "-o", tmp_path) == 0
    summary = read_json(tmp_path / "scores.json", Summary)
    for name in MASKS:
        assert summary.labels[name]["dice"].mean == 1.0 and summary.labels[name]["hd95_mm"].mean == 0.0
    assert summary.cases["case_2"]["clavicle"]["dice"] is None


def test_evaluation_names_a_mask_that_was_not_predicted(trained, tmp_path, capsys) -> None:
    folder, labels = trained
    for number in (0, 1):
        whole = labels.joined(masks(number), GEOMETRY.shape)
        write_label_map(whole, GEOMETRY, files_in(tmp_path, f"case_{number}", ".nii.gz", labels), labels)
    files = files_in(tmp_path, "case_0", ".nii.gz", labels)
    if labels.in_channels:
        write_labels(np.zeros(GEOMETRY.shape, np.uint8), GEOMETRY, files[0])
    else:
        files[1].unlink()
    assert command("evaluate", folder / NAME / "labelsTr", tmp_path) == 1
    said = capsys.readouterr().err
    assert "case_0" in said
    assert ("1 channels, but there are 3 masks" if labels.in_channels else "the mask 'heart' has no file") in said


def test_a_model_in_one_file_predicts_the_same_bits(trained: tuple[Path, MaskLabels], tmp_path: Path, capsys) -> None:
    folder, _ = trained
    raw, where = folder / NAME, ("--workspace", folder / "workspace")
    run = Workspace(folder / "workspace").dataset_folder(NAME).runs("3d_fullres")
    assert command("predict", "-i", raw / "imagesTr", "-o", tmp_path / "runs", "-m", run, *where) == 0
    assert command("export", run, "-o", tmp_path / "chest.zip", *where) == 0
    assert command("predict", "-i", raw / "imagesTr", "-o", tmp_path / "zip", "-m", tmp_path / "chest.zip") == 0
    names = sorted(path.name for path in (tmp_path / "runs").glob("*.nii.gz"))
    assert names and names == sorted(path.name for path in (tmp_path / "zip").glob("*.nii.gz"))
    for name in names:
        assert (tmp_path / "runs" / name).read_bytes() == (tmp_path / "zip" / name).read_bytes()
    capsys.readouterr()
    assert command("info", tmp_path / "chest.zip") == 0
    assert "lung, heart, clavicle" in capsys.readouterr().out
    assert command("export", run, "-o", tmp_path / "theirs", "--format", "nnunet", *where) == 2
    assert "cannot say that masks overlap" in capsys.readouterr().err
    assert not (tmp_path / "theirs").exists()


def test_models_are_compared_and_corrected_mask_by_mask(trained: tuple[Path, MaskLabels], tmp_path: Path) -> None:
    folder, labels = trained
    copy = tmp_path / "workspace"
    shutil.copytree(folder / "workspace", copy)
    assert command("select", 1, "--folds", 0, "--no-mirroring-test", "--device", "cpu", "--workspace", copy) == 0
    files = Workspace(copy).dataset_folder(NAME)
    keys = files.read_folds()[0].validation
    for key in keys:
        assert read(files.selection / "validation", key, labels).shape == GEOMETRY.shape
    images, output = folder / NAME / "imagesTr", tmp_path / "out"
    assert command("predict", "-i", images, "-o", output, "-d", 1, "--workspace", copy) == 0
    assert read(tmp_path / "out", "case_0", labels).shape == GEOMETRY.shape


def test_two_folds_are_trained_compared_and_predict_as_one_model(
    trained: tuple[Path, MaskLabels], tmp_path: Path
) -> None:
    folder, labels = trained
    copy = tmp_path / "workspace"
    shutil.copytree(folder / "workspace", copy)
    files, here = Workspace(copy).dataset_folder(NAME), ("--device", "cpu", "--workspace", copy)
    folds = json.loads(files.folds.read_text())
    files.folds.write_text(json.dumps(folds | {"folds": folds["folds"][:2]}))
    for name in ("3d_fullres", "2d"):
        assert command("train", 1, "cv", "-c", name, *here) == 0
        assert [run.fold for run in files.folds_of(name) if run.finished] == ["0", "1"]
    assert command("select", 1, "--no-mirroring-test", *here) == 0
    record = json.loads((files.selection / "selection.json").read_text())
    keys = [key for fold in files.read_folds().folds for key in fold.validation]
    assert record["folds"] == ["0", "1"] and record["cases"] == len(keys) > len(files.read_folds()[0].validation)
    assert len(record["compared"]) == 3 and set(record["compared"][0]["labels"]) == set(MASKS)
    scores = read_json(files.selection / "validation" / "scores.json", Summary)
    assert set(scores.cases) == set(keys)
    for key in keys:
        one = read(files.selection / "validation", key, labels) & 1
        true, dice = masks(int(key[-1]))[0], scores.cases[key]["lung"]["dice"]
        assert dice == pytest.approx(2 * (one & true).sum() / (one.sum() + true.sum()))
    assert command("predict", "-i", folder / NAME / "imagesTr", "-o", tmp_path / "out", "-d", 1, *here) == 0
    model = Model.read(files.selected)
    np.testing.assert_array_equal(
        read(tmp_path / "out", "case_3", labels),
        model.predict(folder / NAME / "imagesTr" / "case_3_0000.nii.gz").labels,
    )


def test_images_in_memory_get_every_mask(trained: tuple[Path, MaskLabels]) -> None:
    folder, labels = trained
    model = Model.read(Workspace(folder / "workspace").dataset_folder(NAME).run("3d_fullres", "0").root)
    path = folder / NAME / "imagesTr" / "case_0_0000.nii.gz"
    whole = model.predict(path).labels
    image = sitk.ReadImage(str(path))
    array = model.predict(sitk.GetArrayFromImage(image), GEOMETRY.spacing)
    np.testing.assert_array_equal(array, np.stack([*labels.split(whole)]))
    found = model.predict(image)
    assert found.GetNumberOfComponentsPerPixel() == len(MASKS) and found.GetSpacing() == image.GetSpacing()
    np.testing.assert_array_equal(np.moveaxis(sitk.GetArrayFromImage(found), -1, 0), array)
    nibabel = pytest.importorskip("nibabel")
    given = nibabel.load(path)
    back = model.predict(given)
    assert back.shape == (*given.shape[:3], len(MASKS))
    np.testing.assert_array_equal(np.asarray(back.dataobj).T, array)


def test_python_gives_the_same(trained: tuple[Path, MaskLabels], tmp_path: Path) -> None:
    folder, labels = trained
    run = Workspace(folder / "workspace").dataset_folder(NAME).runs("3d_fullres")
    image = folder / NAME / "imagesTr" / "case_0_0000.nii.gz"
    autoseg.predict(run, image, tmp_path)
    np.testing.assert_array_equal(read(tmp_path, "case_0", labels), Model.read(run / "fold_0").predict(image).labels)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("missing", "case_1: case_1_heart.nii.gz is missing"),
        ("three", "this one holds 0, 1, 3"),
        ("grid", "spacing"),
        ("shape", "shape"),
        ("alike", "one name, up to upper and lower case"),
        ("forty", "there are 40 masks, but at most 16"),
    ],
)
def test_what_cannot_be_used_is_said(tmp_path: Path, spoil: str, said: str, capsys) -> None:
    raw = tmp_path / NAME
    make(raw, MaskLabels(MASKS))
    path = raw / "labelsTr" / "case_1_heart.nii.gz"
    write_labels(masks(2)[2].astype(np.uint8), GEOMETRY, raw / "labelsTr" / "case_2_clavicle.nii.gz")
    whole = masks(1)[1].astype(np.uint8)
    if spoil == "missing":
        path.unlink()
    elif spoil == "three":
        whole[0, 0, 0] = 3
        write_labels(whole, GEOMETRY, path)
    elif spoil == "grid":
        write_labels(whole, Geometry.plain(GEOMETRY.shape, (3.0, 1.0, 2.0)), path)
    elif spoil == "shape":
        write_labels(whole[:-1], Geometry.plain((7, 18, 22), GEOMETRY.spacing), path)
    else:
        described = json.loads((raw / "dataset.json").read_text())
        names = ["heart", "Heart"] if spoil == "alike" else [f"rib {number}" for number in range(40)]
        (raw / "dataset.json").write_text(json.dumps(described | {"masks": names}))
    assert command("plan_and_preprocess", raw, "--planner", "tiny", "--workspace", tmp_path / "workspace") == 2
    found = capsys.readouterr()
    told = " ".join((found.err + found.out).split())  # lines are broken somewhere
    assert said in told and "Traceback" not in told
    if spoil in ("missing", "three", "grid", "shape"):
        assert "case_1_heart.nii.gz" in told
