"""Evaluation pairs files by case, leaves nothing out silently, and writes what it found."""

from __future__ import annotations

import csv
import json
import logging
import os

import numpy as np
import pytest

from autoseg.cli import main
from autoseg.core.geometry import Geometry
from autoseg.core.labels import ExclusiveLabels
from autoseg.core.records import read_json, write_json
from autoseg.data.dataset import Dataset
from autoseg.data.dataset_json import described
from autoseg.errors import DatasetError, UnknownPartError, UsageError
from autoseg.evaluation.scores import Summary
from autoseg.parts.readers import write_labels
from autoseg.pipeline.evaluate import evaluate

GEOMETRY = Geometry.plain((4, 8, 8), (3.0, 1.0, 1.0))


def label_map(organ=5, lesion=2) -> np.ndarray:
    array = np.zeros((4, 8, 8), np.int16)
    array[1:3, 1:organ, 1:5] = 205
    array[1:3, 1:lesion, 1:5] = 420
    return array


def write(folder, geometry=GEOMETRY, ending=".nii.gz", **maps):
    folder.mkdir(parents=True, exist_ok=True)
    for key, array in maps.items():
        write_labels(array, geometry, folder / f"{key}{ending}")
    return folder


@pytest.fixture
def dataset(tmp_path):
    """labelsTr of two cases with a dataset.json beside it; predictions in another folder."""
    reference = write(tmp_path / "raw" / "labelsTr", a=label_map(), b=label_map())
    description = {
        "channel_names": {"0": "T1"},
        "labels": {"background": 0, "organ": 205, "lesion": 420},
        "numTraining": 2,
        "file_ending": ".nii.gz",
    }
    (reference.parent / "dataset.json").write_text(json.dumps(description))
    return reference, tmp_path / "predictions"


def test_names_come_from_the_dataset_beside_the_reference_and_files_are_written(dataset) -> None:
    reference, predictions = dataset
    write(predictions, a=label_map(), b=label_map(organ=4))
    summary = evaluate(reference, predictions, output=predictions, workers=2)
    assert summary.cases["a"]["organ"]["dice"] == 1
    assert summary.labels["organ"]["dice"].mean == pytest.approx((1 + 2 * 16 / (24 + 16)) / 2)
    assert read_json(predictions / "scores.json", Summary) == summary
    with (predictions / "scores.csv").open() as file:
        assert [row["case"] for row in csv.DictReader(file)] == ["a", "a", "b", "b"]


def test_a_missing_prediction_is_reported_and_in_no_mean(dataset, caplog) -> None:
    reference, predictions = dataset
    write(predictions, a=label_map())
    with caplog.at_level(logging.WARNING, "autoseg"):
        summary = evaluate(reference, predictions)
    assert summary.missing == ("b",)
    assert list(summary.cases) == ["a"]
    assert "1 case has no prediction" in caplog.text


def test_endings_need_not_agree(dataset) -> None:
    reference, predictions = dataset
    write(predictions, a=label_map(), ending=".nrrd")
    write(predictions, b=label_map(), ending=".mha")
    assert evaluate(reference, predictions).dice == 1


def test_references_may_have_an_ending_that_training_takes_off(tmp_path) -> None:
    labels = write(tmp_path / "labels", p7_seg=label_map(), p8_seg=label_map())
    results = write(tmp_path / "results", p7=label_map())
    summary = evaluate(labels, results)
    assert list(summary.cases) == ["p7"] and summary.missing == ("p8",)
    write(labels, p9_mask=label_map())
    write(results, p9=label_map())
    with pytest.raises(DatasetError, match="have different names"):
        evaluate(labels, results)


def test_output_and_labels_may_be_chosen(dataset, tmp_path) -> None:
    reference, predictions = dataset
    write(predictions, a=label_map(), b=label_map())
    names = {"channel_names": {"0": "T1"}, "labels": {"background": 0, "whole": [205, 420], "core": [420]}}
    names |= {"regions_class_order": [205, 420], "numTraining": 2, "file_ending": ".nii.gz"}
    (tmp_path / "other.json").write_text(json.dumps(names))
    summary = evaluate(reference, predictions, labels=tmp_path / "other.json", output=tmp_path / "out")
    assert list(summary.labels) == ["whole", "core"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"scores.csv", "scores.json"}
    assert {path.name for path in predictions.iterdir()} == {"a.nii.gz", "b.nii.gz"}


def test_nothing_is_written_unasked_and_what_is_written_is_told(dataset, tmp_path, monkeypatch, capsys) -> None:
    reference, predictions = dataset
    write(predictions, a=label_map(), b=label_map())
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    before = sorted(tmp_path.rglob("*"))
    assert main(["evaluate", str(reference), str(predictions)]) == 0
    assert "-o FOLDER writes every score" in capsys.readouterr().out
    assert sorted(tmp_path.rglob("*")) == before
    assert main(["evaluate", str(reference), str(predictions), "-o", "scores"]) == 0
    assert f"scores{os.sep}scores.csv" in capsys.readouterr().out and os.path.exists("scores/scores.csv")


def test_names_come_from_the_folder_of_the_predictions_where_the_reference_has_none(tmp_path) -> None:
    reference = write(tmp_path / "manual", a=label_map())
    predictions = write(tmp_path / "automatic", a=label_map())
    names = described(ExclusiveLabels({"background": 0, "organ": 205, "lesion": 420}), ("T1",), ".nii.gz")
    (predictions / "dataset.json").write_text(json.dumps(names))
    assert list(evaluate(reference, predictions).labels) == ["organ", "lesion"]
    (reference / "dataset.json").write_text(json.dumps(names | {"labels": {"background": 0, "x": 205, "y": 420}}))
    assert list(evaluate(reference, predictions).labels) == ["x", "y"]


def test_without_a_dataset_every_value_is_a_label(tmp_path) -> None:
    reference = write(tmp_path / "manual", a=label_map())
    predictions = write(tmp_path / "automatic", a=np.where(label_map() == 420, 7, label_map()))
    summary = evaluate(reference, predictions)
    assert list(summary.labels) == ["label_7", "label_205", "label_420"]
    assert summary.labels["label_7"]["dice"].mean == 0
    assert summary.labels["label_205"]["dice"].mean == 1


def test_two_files_are_one_case_whatever_their_names(dataset, tmp_path) -> None:
    reference, _ = dataset
    predictions = write(tmp_path / "x", something=label_map())
    summary = evaluate(reference / "a.nii.gz", predictions / "something.nii.gz")
    assert list(summary.cases) == ["a"] and summary.dice == 1


def test_the_tolerance_is_in_millimetres(dataset) -> None:
    reference, predictions = dataset
    write(predictions, a=label_map(organ=4), b=label_map(organ=4))
    strict, lax = (evaluate(reference, predictions, tolerance=mm) for mm in (0.5, 1.0))
    assert strict.labels["organ"]["nsd_0.5mm"].mean < 1
    assert lax.labels["organ"]["nsd_1mm"].mean == 1


def test_another_shape_is_an_error_that_names_the_case(dataset) -> None:
    reference, predictions = dataset
    write(predictions, a=label_map())
    write(predictions, Geometry.plain((4, 8, 7), (3.0, 1.0, 1.0)), b=label_map()[..., :7])
    with pytest.raises(DatasetError, match=r"case 'b' .*4 x 8 x 8 voxels .* but the prediction 4 x 8 x 7"):
        evaluate(reference, predictions)


def test_an_unknown_value_is_an_error_that_names_the_case(dataset) -> None:
    reference, predictions = dataset
    write(predictions, a=label_map() + 1, b=label_map())
    with pytest.raises(DatasetError, match=r"case 'a' .*label values \[1, 206, 421\]"):
        evaluate(reference, predictions)


def test_another_grid_of_the_same_shape_is_a_warning(dataset, caplog) -> None:
    reference, predictions = dataset
    write(predictions, Geometry.plain((4, 8, 8), (3.0, 2.0, 1.0)), a=label_map(), b=label_map())
    evaluate(reference, predictions)
    assert "a: " in caplog.text and "different grids: spacing (3, 2, 1), expected (3, 1, 1)" in caplog.text


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda folder: None, "predictions does not exist"),
        (lambda folder: folder.mkdir(), "found nothing, expected a, b"),
        (lambda folder: write(folder, c=label_map()), "found c, expected a, b"),
        (lambda folder: write(write(folder, a=label_map()), a=label_map(), ending=".mha"), "several files for one"),
    ],
)
def test_what_cannot_be_paired_is_explained(dataset, prepare, message) -> None:
    reference, predictions = dataset
    prepare(predictions)
    with pytest.raises(DatasetError, match=message):
        evaluate(reference, predictions)


def test_a_folder_against_a_file_is_refused(dataset) -> None:
    reference, _ = dataset
    with pytest.raises(DatasetError, match="give two folders or two files"):
        evaluate(reference, reference / "a.nii.gz")


def test_surplus_predictions_pictures_and_hidden_files_do_no_harm(dataset) -> None:
    reference, predictions = dataset
    write(predictions, a=label_map(), b=label_map(), z=label_map())
    (predictions / ".a.nii.gz").touch()
    (predictions / "pictures").mkdir()
    (predictions / "overview.png").touch()
    assert list(evaluate(reference, predictions).cases) == ["a", "b"]


def test_names_may_come_from_the_workspaces_own_dataset_record(dataset, tmp_path) -> None:
    reference, predictions = dataset
    write(predictions, a=label_map(), b=label_map())
    labels = ExclusiveLabels({"background": 0, "part": 205, "rest": 420})
    write_json(tmp_path / "record.json", Dataset("x", "/x", ("T1",), labels, (), ".nii.gz", "nnunet"))
    assert list(evaluate(reference, predictions, labels=tmp_path / "record.json").labels) == ["part", "rest"]


def test_label_maps_without_any_label_cannot_be_scored(tmp_path) -> None:
    reference = write(tmp_path / "manual", a=label_map() * 0)
    with pytest.raises(DatasetError, match="nothing to score; name the labels with --labels"):
        evaluate(reference, write(tmp_path / "automatic", a=label_map() * 0))


def scans(dataset) -> None:
    """Six patients of four scans each, alike within a patient."""
    reference, predictions = dataset
    for patient in range(6):
        maps = {f"p{patient}_{scan}": label_map(organ=5) for scan in range(4)}
        write(reference, **maps)
        write(predictions, **{key: label_map(organ=3 + patient) for key in maps})


@pytest.mark.slow
@pytest.mark.parametrize("flags", [("--group", r"^p\d"), ("--group-file", "patients.csv")])
def test_intervals_resample_patients_where_they_are_named(dataset, tmp_path, monkeypatch, capsys, flags) -> None:
    scans(dataset)
    monkeypatch.chdir(tmp_path)
    rows = [f"p{patient}_{scan},p{patient}" for patient in range(6) for scan in range(4)]
    (tmp_path / "patients.csv").write_text("\n".join(["case,patient", *rows]))
    assert main(["evaluate", *map(str, dataset), *flags, "-o", "out", "--metrics", "lesions,confusion"]) == 0
    assert "24 cases of 6 patients; intervals resample patients" in capsys.readouterr().out
    summary = read_json(tmp_path / "out" / "scores.json", Summary)
    assert summary.patients["p1_0"] == "p1"
    by_case = evaluate(*dataset, metrics=["lesions", "confusion"])
    for metric in ("dice", "lesion_dice", "lesion_hd95_mm", "specificity"):
        wide, narrow = summary.overall[metric], by_case.overall[metric]
        assert wide.mean == narrow.mean and wide.high - wide.low > 1.5 * (narrow.high - narrow.low), metric


def test_cases_that_look_like_scans_of_a_patient_are_told(dataset, caplog) -> None:
    scans(dataset)
    with caplog.at_level(logging.WARNING, "autoseg"):
        evaluate(*dataset)
    assert r"--group '^\D*\d+'" in caplog.text


def test_patients_that_are_not_named_stop_it_before_anything_is_scored(dataset, capsys) -> None:
    scans(dataset)
    assert main(["evaluate", *map(str, dataset), "--group", "^q", "-o", str(dataset[1])]) == 2
    assert "does not match case 'p0_0'" in capsys.readouterr().err
    assert not (dataset[1] / "scores.json").exists()


def test_a_label_map_that_cannot_be_read_fails_and_the_others_are_scored(dataset, capsys) -> None:
    reference, predictions = dataset
    write(predictions, a=label_map(), b=label_map())
    (predictions / "a.nii.gz").write_bytes(b"nothing")
    with pytest.raises(DatasetError, match=r"a\.nii\.gz"):
        evaluate(reference, predictions)
    assert main(["evaluate", str(reference), str(predictions), "-o", str(predictions)]) == 1
    told = capsys.readouterr()
    assert "a.nii.gz: cannot be read" in told.err and "1.000" in told.out
    assert list(read_json(predictions / "scores.json", Summary).cases) == ["b"]
    (reference.parent / "dataset.json").unlink()
    assert main(["evaluate", str(reference), str(predictions)]) == 1
    (predictions / "b.nii.gz").write_bytes(b"nothing")
    (reference.parent / "dataset.json").write_text('{"labels": {"background": 0, "organ": 205}, "channel_names": {}}')
    assert main(["evaluate", str(reference), str(predictions)]) == 2
    assert "no case can be scored" in capsys.readouterr().err


def test_images_are_not_taken_for_label_maps(tmp_path) -> None:
    image = np.arange(4 * 16 * 16, dtype=np.int16).reshape(4, 16, 16)
    geometry = Geometry.plain(image.shape, (1.0, 1.0, 1.0))
    for folder in ("one", "two"):
        write(tmp_path / folder, geometry, a=image, b=image)
    with pytest.raises(DatasetError, match=r"1024 different values .* looks like an image"):
        evaluate(tmp_path / "one", tmp_path / "two")


@pytest.mark.parametrize("name", ["scores.json", "scores.csv"])
@pytest.mark.parametrize("content", ["mine: 1", '{"overall": 1}', "case;label", ""])
def test_scores_of_somebody_else_are_never_replaced(dataset, name, content) -> None:
    reference, predictions = dataset
    write(predictions, a=label_map(), b=label_map())
    evaluate(reference, predictions, output=predictions)
    evaluate(reference, predictions, output=predictions)  # its own it replaces
    (predictions / name).write_text(content)
    with pytest.raises(UsageError, match=f"{name} is not what `autoseg evaluate` writes"):
        evaluate(reference, predictions, output=predictions)
    assert (predictions / name).read_text() == content


def test_what_a_killed_evaluation_left_is_removed(dataset) -> None:
    reference, predictions = dataset
    write(predictions, a=label_map())
    (predictions / ".writing-999999999-0123abcd-scores.csv").write_bytes(b"half")
    evaluate(reference, predictions, output=predictions)
    assert {path.name for path in predictions.iterdir()} == {"a.nii.gz", "scores.json", "scores.csv"}


OWN = """
from dataclasses import dataclass


@dataclass(frozen=True)
class Spec:
    def score(self, reference, prediction, spacing, image=None):
        return {"slices": float((reference | prediction).any((1, 2)).sum()), "share": reference.sum() / image.voxels}
"""


def test_a_metric_of_ones_own_is_a_file(dataset, tmp_path, monkeypatch, capsys) -> None:
    reference, predictions = dataset
    write(predictions, a=label_map(), b=label_map())
    (tmp_path / "python" / "scorelab").mkdir(parents=True)
    (tmp_path / "python" / "scorelab" / "__init__.py").touch()
    (tmp_path / "python" / "scorelab" / "slices.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path / "python"))
    words = ["evaluate", str(reference), str(predictions), "--metrics", "scorelab.slices,confusion"]
    assert main(words) == 2
    assert "pass --trust scorelab" in capsys.readouterr().err
    assert main([*words, "--trust", "scorelab"]) == 0
    assert "slices" in capsys.readouterr().out
    summary = evaluate(reference, predictions, metrics=["scorelab.slices"], trusted=("scorelab",))
    assert summary.cases["a"]["organ"]["slices"] == 2
    assert summary.cases["a"]["organ"]["share"] == pytest.approx(2 * 3 * 4 / (4 * 8 * 8))


@pytest.mark.parametrize("metrics", [["nope"], ["_surfels"], ["lesions", "os.path"]])
def test_a_metric_that_there_is_not_is_refused_before_anything_is_read(dataset, metrics) -> None:
    reference, _ = dataset
    with pytest.raises(UnknownPartError):
        evaluate(reference, reference.parent / "nowhere", metrics=metrics)


def test_pictures_and_regions_have_lesions_as_well(tmp_path) -> None:
    picture = np.zeros((1, 40, 40), np.uint8)
    picture[0, 2:6, 2:6], picture[0, 3:5, 3:5], picture[0, 30:33, 30:33] = 1, 2, 1
    geometry = Geometry.plain_2d((40, 40))
    reference = write(tmp_path / "labelsTr", geometry, ".png", a=picture)
    predictions = write(tmp_path / "predictions", geometry, ".png", a=np.where(picture == 2, 0, picture))
    names = {"labels": {"background": 0, "whole": [1, 2], "core": [2]}, "regions_class_order": [1, 2]}
    (tmp_path / "dataset.json").write_text(json.dumps(names | {"channel_names": {"0": "grey"}}))
    found = evaluate(reference, predictions, metrics=["lesions", "surface_area", "confusion"]).cases["a"]
    assert (found["whole"]["lesions"], found["core"]["lesions"], found["core"]["missed_lesions"]) == (2, 1, 1)
    assert found["whole"]["lesion_dice"] == pytest.approx((1 + 2 * 12 / (16 + 12)) / 2)
    assert found["core"]["specificity"] == 1 and found["whole"]["reference_ml"] is None
