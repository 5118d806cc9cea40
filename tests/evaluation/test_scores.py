"""Scoring a case and summing up cases."""

from __future__ import annotations

import csv
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from autoseg.core.geometry import Geometry
from autoseg.core.labels import ExclusiveLabels, RegionLabels
from autoseg.core.masks import MaskLabels
from autoseg.core.records import read_json
from autoseg.errors import DatasetError
from autoseg.evaluation.scores import (
    METRICS,
    Summary,
    chosen_metrics,
    score_case,
    standard_metrics,
    summarise,
    write_scores,
)
from autoseg.evaluation.tables import score_table

TWO = ExclusiveLabels({"background": 0, "organ": 205, "lesion": 420})
label_maps = arrays.arrays(np.int16, (3, 4, 5), elements=st.sampled_from([0, 205, 420]))


def geometry(shape, spacing=(3.0, 1.0, 1.0)):
    return Geometry.plain(shape, spacing)


def score(reference, prediction, labels=TWO, **options):
    return score_case(reference, prediction, labels, geometry(reference.shape), **options)


def case(organ, lesion=math.nan):
    return {"organ": {"dice": organ, "hd95_mm": 1.0}, "lesion": {"dice": lesion, "hd95_mm": 1.0}}


MASKS = [name for name in METRICS if not METRICS.load(name).of_probabilities]


@settings(max_examples=30, deadline=None)
@given(label_maps, label_maps)
def test_scores_of_a_label_are_the_metrics_of_its_mask_in_the_whole_image(reference, prediction) -> None:
    metrics = chosen_metrics(MASKS)
    found = score(reference, prediction, metrics=metrics)
    for name, value in (("organ", 205), ("lesion", 420)):
        expected = {}
        for metric in metrics:
            expected |= metric.score(reference == value, prediction == value, (3.0, 1.0, 1.0))
        finite = {key: value for key, value in expected.items() if not math.isinf(value)}
        assert {key: found[name][key] for key in finite} == pytest.approx(finite, nan_ok=True)


def test_what_nobody_asked_for_is_not_measured() -> None:
    names = set(score(*np.full((2, 3, 4, 5), 205, np.int16))["organ"])
    assert not any(word in name for name in names for word in ("lesion", "area", "auc", "specificity"))
    assert {"dice", "hd95_mm", "reference_ml", "prediction_ml", "volume_error_percent"} <= names


def test_metrics_of_probabilities_see_every_annotated_voxel_of_their_label() -> None:
    labels = ExclusiveLabels({"background": 0, "organ": 1, "lesion": 2}, ignore=9)
    reference = np.array([[[1, 1, 2, 0, 9, 9]]])
    chances = {"organ": [9, 8, 1, 0, 99, 0], "lesion": [1, 2, 5, 6, 0, 99]}
    found = score(
        reference,
        reference,
        labels,
        metrics=chosen_metrics(["roc"]),
        probabilities=lambda name: np.array([[chances[name]]], np.uint16),
    )
    assert found["organ"]["auc"] == 1 and found["lesion"]["auc"] == pytest.approx(2 / 3)


def test_specificity_leaves_ignored_voxels_out() -> None:
    labels = ExclusiveLabels({"background": 0, "organ": 1}, ignore=9)
    reference = np.array([[[1, 0, 0, 0, 9, 9]]])
    prediction = np.array([[[1, 1, 0, 0, 1, 0]]])
    found = score(reference, prediction, labels, metrics=chosen_metrics(["confusion"]))["organ"]
    assert found["specificity"] == pytest.approx(2 / 3) and found["accuracy"] == pytest.approx(3 / 4)


def test_a_slice_of_a_volume_has_a_volume_and_a_picture_has_none() -> None:
    labels, cell = ExclusiveLabels({"background": 0, "cell": 1}), np.ones((1, 4, 5), np.uint8)
    of_slice = score_case(cell, cell, labels, Geometry.plain((1, 4, 5), (5.0, 1.0, 2.0)))["cell"]
    assert of_slice["reference_ml"] == of_slice["prediction_ml"] == pytest.approx(20 * 10 / 1000)
    assert math.isnan(score_case(cell, cell, labels, Geometry.plain_2d((4, 5)))["cell"]["reference_ml"])


def test_lesions_of_overlapping_masks_are_those_of_each() -> None:
    labels = MaskLabels(("one", "two"))
    reference, prediction = np.zeros((2, 6, 30, 30), np.uint8)
    reference[1:3, 1:4, 1:4] = prediction[1:3, 1:4, 1:4] = 3
    reference[1:3, 20:22, 20:22] = 2
    prediction[1:3, 1:4, 20:22] = 1
    scores = score(reference, prediction, labels, metrics=chosen_metrics(["lesions"]))
    one, two = scores["one"], scores["two"]
    assert (one["lesions"], one["missed_lesions"], one["false_positive_lesions"]) == (1, 0, 1)
    assert (two["lesions"], two["missed_lesions"], two["false_positive_lesions"]) == (2, 1, 0)
    assert two["lesion_hd95_mm"] == pytest.approx(math.sqrt(18**2 + 30**2 + 30**2) / 2)


def test_a_label_absent_from_both_has_no_score() -> None:
    empty = np.zeros((3, 4, 5), np.uint8)
    scores = score(empty, empty)["organ"]
    assert all(scores.pop(f"{mask}_{unit}") == 0 for mask in ("reference", "prediction") for unit in ("voxels", "ml"))
    assert all(math.isnan(value) for value in scores.values())


def test_a_missed_label_has_dice_0_and_the_images_diagonal_as_distance() -> None:
    reference, prediction = np.zeros((2, 4, 5, 6), np.int16)
    reference[1:3, 2:4, 2:4] = 205
    diagonal = math.sqrt(12**2 + 5**2 + 6**2)
    for pair in ((reference, prediction), (prediction, reference)):
        scores = score(*pair)["organ"]
        assert scores["dice"] == scores["nsd_1mm"] == 0
        assert scores["hd95_mm"] == scores["assd_mm"] == pytest.approx(diagonal)


def test_ignored_voxels_count_for_nothing() -> None:
    labels = ExclusiveLabels({"background": 0, "organ": 1}, ignore=9)
    reference, prediction = np.zeros((2, 3, 6, 6), np.uint8)
    reference[:, 1:4, 1:4] = prediction[:, 1:4, 1:4] = 1
    reference[:, 4:] = 9
    prediction[:, 5] = 1
    scores = score(reference, prediction, labels)["organ"]
    assert scores["dice"] == 1 and scores["hd95_mm"] == 0 and scores["prediction_voxels"] == 27


def test_a_region_is_the_union_of_its_values() -> None:
    labels = RegionLabels({"whole": (1, 2), "core": (2,)}, (1, 2))
    reference, prediction = np.zeros((2, 3, 6, 6), np.uint8)
    reference[:, 1:5, 1:5] = 1
    reference[:, 2:4, 2:4] = 2
    prediction[:, 1:5, 1:5] = 1
    scores = score(reference, prediction, labels)
    assert list(scores) == ["whole", "core"]
    assert scores["whole"]["dice"] == 1 and scores["core"]["dice"] == 0


def test_slices_of_a_2d_image_have_their_outline_as_surface() -> None:
    reference, prediction = np.zeros((2, 1, 9, 9), np.uint8)
    reference[0, 2:7, 2:7], prediction[0, 2:7, 2:7] = 1, 1
    prediction[0, 4, 4] = 0  # a hole of one voxel, 2 voxels inside the outline
    labels = ExclusiveLabels({"background": 0, "cell": 1})
    scores = score_case(reference, prediction, labels, Geometry.plain_2d((9, 9)))["cell"]
    assert scores["assd_mm"] == pytest.approx((16 * 0 + 16 * 0 + 4 * 1) / (16 + 20))


def test_different_shapes_are_refused_with_both_sizes() -> None:
    with pytest.raises(DatasetError, match="3 x 4 x 5 voxels along z, y, x but the prediction 3 x 4 x 6"):
        score_case(np.zeros((3, 4, 5), int), np.zeros((3, 4, 6), int), TWO, geometry((3, 4, 5)))


def test_the_tolerance_names_its_column() -> None:
    maps = np.full((2, 3, 4, 5), 205, np.int16)
    assert "nsd_2.5mm" in score(*maps, metrics=standard_metrics(2.5))["organ"]


def test_means_leave_out_cases_without_a_number_and_count_the_rest() -> None:
    summary = summarise({"a": case(0.8, 0.4), "b": case(0.6), "c": case(0.7)})
    assert summary.labels["organ"]["dice"].mean == pytest.approx(0.7)
    assert summary.labels["organ"]["dice"].cases == 3
    lesion = summary.labels["lesion"]["dice"]
    assert (lesion.mean, lesion.low, lesion.cases) == (pytest.approx(0.4), None, 1)
    assert summary.dice == pytest.approx((0.7 + 0.4) / 2)


def test_a_label_without_any_number_is_left_out_of_the_overall_mean() -> None:
    summary = summarise({"a": case(0.8), "b": case(0.6)})
    assert summary.labels["lesion"]["dice"].mean is None
    assert summary.dice == pytest.approx(0.7)
    assert math.isnan(summarise({"a": case(math.nan)}).dice)


def test_the_interval_is_that_of_the_normal_approximation_for_many_cases() -> None:
    values = np.random.default_rng(0).normal(0.8, 0.05, 200)
    estimate = summarise({str(n): case(value, value) for n, value in enumerate(values)}).overall["dice"]
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert estimate.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert estimate.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_the_same_seed_gives_the_same_interval() -> None:
    cases = {str(n): case(value, value) for n, value in enumerate((0.2, 0.5, 0.9))}
    assert summarise(cases, seed=1) == summarise(cases, seed=1)
    wide = {str(n): case(value, value) for n, value in enumerate(np.random.default_rng(1).random(15))}
    assert summarise(wide, seed=1) != summarise(wide, seed=2)


def test_nothing_to_summarise_is_an_error() -> None:
    with pytest.raises(DatasetError, match="nothing to summarise"):
        summarise({})


def test_written_scores_are_read_back_and_valid_json(tmp_path) -> None:
    summary = summarise({"a": case(0.8, 0.4), "b": case(0.6)}, missing=["c"])
    write_scores(tmp_path, summary)
    assert read_json(tmp_path / "scores.json", Summary) == summary
    json.loads((tmp_path / "scores.json").read_text(), parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    rows = list(csv.DictReader((tmp_path / "scores.csv").read_text().splitlines()))
    assert [(row["case"], row["label"]) for row in rows] == [
        ("a", "organ"),
        ("a", "lesion"),
        ("b", "organ"),
        ("b", "lesion"),
    ]
    assert rows[0]["dice"] == "0.8" and rows[3]["dice"] == ""


def test_the_table_shows_labels_means_and_missing_cases() -> None:
    cases = {"a": case(0.8, 0.4), "b": case(0.6), "c": case(0.7)}
    lines = score_table(summarise(cases, missing=["d"])).splitlines()
    assert lines[0].split() == ["label", "cases", "dice", "(95", "%", "interval)", "hd95_mm"]
    assert lines[1].split()[:3] == ["organ", "3", "0.700"]
    assert lines[2].split() == ["lesion", "1", "0.400", "1.000"]
    assert lines[3].startswith("mean over labels") and " 0.550 " in lines[3]
    assert lines[4].startswith("1 of 4 cases have no prediction") and lines[4].endswith(": d")
    assert max(map(len, lines[:4])) <= 80


@pytest.mark.slow
def test_intervals_hold_the_true_mean_when_patients_are_resampled_and_not_when_cases_are() -> None:
    """30 patients of 4 scans that resemble each other: 95 % intervals of 300 datasets, of which 285 should hold 0.8."""
    random, held = np.random.default_rng(0), {"patient": 0, "case": 0}
    patients = {f"case {n}": f"patient {n // 4}" for n in range(120)}
    for seed in range(300):
        values = 0.8 + 0.05 * random.normal(size=30).repeat(4) + 0.02 * random.normal(size=120)
        cases = {key: {"organ": {"dice": value}} for key, value in zip(patients, values)}
        for name, whose in (("patient", patients), ("case", None)):
            dice = summarise(cases, patients=whose, seed=seed).overall["dice"]
            held[name] += dice.low <= 0.8 <= dice.high
    assert held["patient"] / 300 > 0.91  # 0.95 - 3.2 standard errors
    assert held["case"] / 300 < 0.80


def test_where_every_case_is_a_patient_nothing_changes() -> None:
    cases = {str(n): case(value, value) for n, value in enumerate((0.2, 0.5, 0.9))}
    named = summarise(cases, patients={key: f"patient {key}" for key in cases})
    assert (named.overall, named.labels) == (summarise(cases).overall, summarise(cases).labels)


def test_one_patient_has_no_interval_whatever_the_number_of_scans() -> None:
    scans = {"a": case(0.8, 0.4), "b": case(0.6), "c": case(0.5), "d": case(0.9)}
    whose = {"a": "p", "b": "p", "c": "q", "d": "s"}
    summary = summarise(scans, patients={**whose, "elsewhere": "r"})
    assert summary.patients == whose
    organ, lesion = summary.labels["organ"]["dice"], summary.labels["lesion"]["dice"]
    assert organ.cases == 4 and organ.low == pytest.approx(0.5) and organ.high == pytest.approx(0.9)
    assert (lesion.cases, lesion.low) == (1, None)
    one = summarise(scans, patients=dict.fromkeys(scans, "p"))
    assert one.overall["dice"].low is None and one.overall["dice"].cases == 4


def test_two_cases_have_no_interval_and_the_table_no_column_of_it() -> None:
    """Theirs could only be the one and the other, which holds the mean of many in half of all datasets."""
    summary = summarise({"a": case(0.8, 0.4), "b": case(0.6, 0.5)})
    assert summary.labels["organ"]["dice"].low is None and summary.overall["dice"].high is None
    assert "interval" not in score_table(summary)


def test_the_table_says_that_patients_are_resampled(tmp_path) -> None:
    scans = {"a": case(0.8, 0.4), "b": case(0.6), "c": case(0.5)}
    summary = summarise(scans, patients={"a": "p", "b": "p", "c": "q"})
    assert score_table(summary).splitlines()[-1] == "3 cases of 2 patients; intervals resample patients"
    write_scores(tmp_path, summary)
    assert read_json(tmp_path / "scores.json", Summary) == summary
