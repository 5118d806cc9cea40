"""The table fits the terminal: what does not is in the files."""

from __future__ import annotations

import math

import numpy as np
import pytest

from autoseg.core.geometry import Geometry
from autoseg.core.labels import ExclusiveLabels
from autoseg.evaluation.scores import chosen_metrics, score_case, summarise
from autoseg.evaluation.tables import aligned, score_table

NAMES = ("left hippocampus, posterior part, as drawn by hand", "b")


def summary(further=(), cases=4, depth=4):
    labels = ExclusiveLabels({"background": 0} | {name: number for number, name in enumerate(NAMES, 1)})
    scores = {}
    for number in range(cases):
        reference = np.random.default_rng(number).integers(0, 3, (depth, 8, 8))
        prediction = np.where(np.random.default_rng(99).random(reference.shape) < 0.1, 0, reference)
        geometry = Geometry.plain_2d((8, 8)) if depth == 1 else Geometry.plain((depth, 8, 8), (25.0, 10.0, 10.0))
        scores[f"case {number}"] = score_case(reference, prediction, labels, geometry, chosen_metrics(further))
    return summarise(scores)


def test_80_columns_show_dice_hd95_and_both_volumes() -> None:
    found = summary()
    lines = score_table(found, 80).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["label", "cases", "dice", "(95", "%", "interval)", "hd95_mm", "volume_ml", "reference"]
    label, estimates = NAMES[1], found.labels[NAMES[1]]
    (row,) = (line.split() for line in lines if line.startswith(f"{label} "))
    shown = [estimates[name].mean for name in ("hd95_mm", "prediction_ml", "reference_ml")]
    assert row[-3:] == [f"{value:.3f}" for value in shown] and shown[2] > 10
    assert lines[1].startswith("left h") and " ... " in lines[1]


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
def test_what_does_not_fit_is_left_out_from_the_right_before_names_are_unreadable(width) -> None:
    lines = score_table(summary(), width).splitlines()
    assert max(map(len, lines)) <= max(width, 32)
    assert lines[0].split()[:3] == ["label", "cases", "dice"]
    assert ("reference" in lines[0]) == (width >= 80)
    assert (NAMES[0] in lines[1]) == (width == 200)


def test_pictures_have_no_column_of_volumes() -> None:
    assert "_ml" not in score_table(summary(depth=1), 80)


def test_what_was_asked_for_has_a_table_of_its_own() -> None:
    found = summary(["lesions", "confusion"])
    text = score_table(found, 80)
    assert max(map(len, text.splitlines())) <= 80 and "\\" not in text
    for name in ("specificity", "overlap_error_percent", "lesion_dice", "false_positive_lesions"):
        assert name in text and f"{found.overall[name].mean:.3f}" in text
    assert "precision" not in text.replace("lesion_precision", "") and "nsd" not in text


def test_a_number_that_is_missing_is_a_dash() -> None:
    assert aligned(["a"], [[None, math.nan, 1.0]], ["x", "one", "two", "three"]).split()[-4:] == [
        "a",
        "-",
        "-",
        "1.000",
    ]
