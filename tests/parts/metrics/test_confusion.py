"""Accuracy, specificity and overlap error follow from four counts over the whole image."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as arrays

from autoseg.core.extent import Extent
from autoseg.parts.metrics import confusion, overlap

masks = arrays.arrays(bool, (3, 4, 5))


def score(reference, prediction, image=None):
    return confusion.Spec().score(reference, prediction, (1.0,) * reference.ndim, image)


def test_counts_by_hand() -> None:
    reference, prediction = np.zeros((2, 1, 1, 10), bool)
    reference[..., :6] = True
    prediction[..., 4:9] = True
    expected = {
        "accuracy": pytest.approx((2 + 1) / 10),
        "specificity": pytest.approx(1 / 4),
        "overlap_error_percent": pytest.approx(100 * (1 - 2 / 9)),
    }
    assert score(reference, prediction) == expected
    box = np.s_[..., :9]
    assert score(reference[box], prediction[box], Extent.of(reference.shape, (1.0, 1.0, 1.0))) == expected


@given(masks, masks)
def test_the_overlap_error_is_what_iou_leaves(reference, prediction) -> None:
    iou = overlap.Spec().score(reference, prediction, (1.0, 1.0, 1.0))["iou"]
    assert score(reference, prediction)["overlap_error_percent"] == pytest.approx(100 * (1 - iou), nan_ok=True)


@given(masks, masks)
def test_specificity_is_the_recall_of_what_is_not_the_label(reference, prediction) -> None:
    if (reference | prediction).any():
        recall = overlap.Spec().score(~reference, ~prediction, (1.0, 1.0, 1.0))["recall"]
        assert score(reference, prediction)["specificity"] == pytest.approx(recall, nan_ok=True)
        assert score(reference, prediction)["accuracy"] == pytest.approx((reference == prediction).mean())


def test_undefined_ratios_are_nan() -> None:
    nothing, everything = np.zeros((2, 2, 2), bool), np.ones((2, 2, 2), bool)
    assert all(math.isnan(value) for value in score(nothing, nothing).values())
    assert math.isnan(score(everything, nothing)["specificity"]) and score(everything, nothing)["accuracy"] == 0
    assert score(nothing, everything) == {"accuracy": 0, "specificity": 0, "overlap_error_percent": 100}
