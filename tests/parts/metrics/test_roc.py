"""The curve and its area equal scikit-learn's, and what comparing all pairs of voxels gives."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from autoseg.parts.metrics import roc

STORED = Path(__file__).with_name("lesion_scores.npz")


def score(truth, codes, **settings_):
    return roc.Spec(**settings_).score(truth, codes, (1.0,))


def test_the_area_equals_scikit_learns() -> None:
    """Made by benchmarks/oracle_lesions.py with scikit-learn."""
    with np.load(STORED, allow_pickle=False) as stored:
        for codes, truth, expected in zip(stored["codes"], stored["truth"], stored["auc"], strict=True):
            assert score(truth, codes.astype(np.uint16) * np.uint16(257))["auc"] == pytest.approx(expected, rel=1e-12)
            assert 0.4 < expected < 0.95


@settings(max_examples=50, deadline=None)
@given(arrays.arrays(bool, 30), arrays.arrays(np.uint16, 30, elements=st.integers(0, 9)))
def test_the_area_is_that_of_all_pairs(truth, codes) -> None:
    found = score(truth, codes)["auc"]
    inside, outside = codes[truth].astype(int)[:, None], codes[~truth].astype(int)
    if truth.all() or not truth.any():
        assert math.isnan(found)
    else:
        assert found == pytest.approx(((inside > outside) + (inside == outside) / 2).mean())


def test_points_of_the_curve() -> None:
    codes = np.rint(np.array([0.0, 0.2, 0.5, 0.5, 0.7, 1.0]) * roc.ONE).astype(np.uint16)
    truth = np.array([0, 1, 0, 1, 0, 1], bool)
    found = score(truth, codes, thresholds=(0.1, 0.5, 1.0))
    assert list(found) == ["auc", "sensitivity_at_0.1", "specificity_at_0.1", "sensitivity_at_0.5",
                           "specificity_at_0.5", "sensitivity_at_1", "specificity_at_1"]  # fmt: skip
    assert found["sensitivity_at_0.1"] == 1 and found["specificity_at_0.1"] == pytest.approx(1 / 3)
    assert found["sensitivity_at_0.5"] == pytest.approx(2 / 3) and found["specificity_at_0.5"] == pytest.approx(1 / 3)
    assert found["sensitivity_at_1"] == pytest.approx(1 / 3) and found["specificity_at_1"] == 1


def test_one_half_in_8_bits_is_what_is_decided() -> None:
    """127 of 255 is below one half, 128 above."""
    codes = np.array([127, 128], np.uint16) * np.uint16(257)
    assert score(np.array([False, True]), codes)["sensitivity_at_0.5"] == 1
    assert score(np.array([True, False]), codes)["sensitivity_at_0.5"] == 0


def test_a_label_that_is_nowhere_has_no_area() -> None:
    codes = np.zeros(5, np.uint16)
    nowhere, everywhere = score(np.zeros(5, bool), codes), score(np.ones(5, bool), codes)
    assert math.isnan(nowhere["auc"]) and math.isnan(everywhere["auc"])
    assert math.isnan(nowhere["sensitivity_at_0.5"]) and nowhere["specificity_at_0.5"] == 1


def test_counting_goes_on_beyond_a_piece(monkeypatch) -> None:
    codes = np.random.default_rng(0).integers(0, 1 << 16, 1000).astype(np.uint16)
    whole = roc.counted(codes)
    monkeypatch.setattr(roc, "AT_ONCE", 64)
    np.testing.assert_array_equal(roc.counted(codes), whole)
    assert whole.sum() == 1000


@pytest.mark.parametrize("thresholds", [(0.0,), (1.1,), (math.nan,)])
def test_thresholds_are_probabilities(thresholds) -> None:
    with pytest.raises(ValueError, match="thresholds must be above 0"):
        roc.Spec(thresholds=thresholds)
