"""Overlap metrics follow from three counts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from autoseg.core.extent import Extent
from autoseg.parts.metrics import overlap

masks = arrays.arrays(bool, (3, 4, 5))


def score(reference, prediction):
    return overlap.Spec().score(reference, prediction, (1.0, 1.0, 1.0))


def test_counts_by_hand() -> None:
    reference, prediction = np.zeros((2, 1, 1, 10), bool)
    reference[..., :6] = True
    prediction[..., 4:8] = True
    assert score(reference, prediction) == {
        "dice": pytest.approx(4 / 10),
        "iou": pytest.approx(2 / 8),
        "precision": pytest.approx(2 / 4),
        "recall": pytest.approx(2 / 6),
        "volume_error_percent": pytest.approx(-100 * 2 / 6),
        "reference_ml": pytest.approx(0.006),
        "prediction_ml": pytest.approx(0.004),
        "reference_voxels": 6,
        "prediction_voxels": 4,
    }


@given(masks, masks)
def test_dice_follows_from_iou(reference, prediction) -> None:
    scores = score(reference, prediction)
    if (reference | prediction).any():
        assert scores["dice"] == pytest.approx(2 * scores["iou"] / (1 + scores["iou"]))
    else:
        assert math.isnan(scores["dice"]) and math.isnan(scores["iou"])


@given(masks, masks)
def test_exchanging_the_masks_exchanges_precision_and_recall(reference, prediction) -> None:
    there, back = score(reference, prediction), score(prediction, reference)
    assert there["precision"] == pytest.approx(back["recall"], nan_ok=True)
    assert there["dice"] == pytest.approx(back["dice"], nan_ok=True)


@given(masks, st.data())
def test_no_prediction_beats_the_reference_itself(reference, data) -> None:
    prediction = data.draw(masks)
    best = score(reference, reference)["dice"]
    assert not score(reference, prediction)["dice"] > best


def test_undefined_ratios_are_nan() -> None:
    nothing, something = np.zeros((2, 2, 2), bool), np.ones((2, 2, 2), bool)
    missed, invented = score(something, nothing), score(nothing, something)
    assert missed["dice"] == missed["iou"] == missed["recall"] == 0 and math.isnan(missed["precision"])
    assert missed["volume_error_percent"] == -100
    assert invented["dice"] == invented["precision"] == 0
    assert math.isnan(invented["recall"]) and math.isnan(invented["volume_error_percent"])


def test_volumes_are_in_ml_and_pictures_have_none() -> None:
    mask = np.ones((2, 5, 10), bool)
    found = overlap.Spec().score(mask, mask, (5.0, 2.0, 1.0))
    assert found["reference_ml"] == found["prediction_ml"] == pytest.approx(100 * 10 / 1000)
    flat = overlap.Spec().score(mask[0], mask[0], (2.0, 1.0))
    assert math.isnan(flat["reference_ml"]) and flat["reference_voxels"] == 50
    slice_ = overlap.Spec().score(mask[0], mask[0], (2.0, 1.0), Extent.of((1, 5, 10), (5.0, 2.0, 1.0)))
    assert slice_["reference_ml"] == pytest.approx(0.5)
