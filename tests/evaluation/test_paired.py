"""Two ways to predict are compared on the same cases; the test's numbers are those of R's wilcox.test."""

from __future__ import annotations

import numpy as np
import pytest

from autoseg.evaluation.paired import paired

# Hollander and Wolfe 1973, p. 29f, depression scale at two visits: the example of R's wilcox.test.
FIRST = np.array([1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30])
SECOND = np.array([0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29])


def column(scores: np.ndarray) -> np.ndarray:
    """Of one label."""
    return scores[:, None]


def test_the_p_value_is_the_published_one() -> None:
    found = paired(column(FIRST), column(SECOND))
    assert found.p == pytest.approx(0.03906, abs=1e-5)  # two-sided; R's example is one-sided, 0.01953
    assert (found.better, found.worse) == (7, 2)
    assert found.difference.mean == pytest.approx((FIRST - SECOND).mean())


def test_the_interval_is_that_of_the_mean() -> None:
    random = np.random.default_rng(0)
    one, other = random.normal(0.3, 1.0, 400), np.zeros(400)
    found = paired(column(one), column(other)).difference
    margin = 1.96 * one.std() / np.sqrt(400)  # of a normal mean; a bootstrap of 400 cases comes close to it
    assert found.low == pytest.approx(one.mean() - margin, abs=0.02)
    assert found.high == pytest.approx(one.mean() + margin, abs=0.02)


def test_equal_scores_have_no_p_value() -> None:
    found = paired(column(FIRST), column(FIRST))
    assert (found.p, found.better, found.worse, found.difference.mean) == (None, 0, 0, 0.0)


def test_cases_without_a_number_are_left_out() -> None:
    found = paired(np.array([[0.5], [np.nan], [0.7]]), np.array([[0.4], [np.nan], [0.9]]))
    assert (found.difference.cases, found.better, found.worse) == (2, 1, 1)
    assert found.difference.mean == pytest.approx(-0.05)
    assert paired(np.array([[np.nan]]), np.array([[np.nan]])).difference.mean is None
    assert paired(np.array([[0.5]]), np.array([[0.4]])).difference.low is None


def test_a_false_structure_that_vanishes_is_better() -> None:
    """It had Dice 0 and has none now, so that the mean over cases rises."""
    one, other = np.array([[0.8], [np.nan], [0.9]]), np.array([[0.8], [0.0], [0.9]])
    found = paired(one, other)
    assert (found.better, found.worse) == (1, 0)
    assert found.difference.mean == pytest.approx(0.85 - 1.7 / 3)
    assert (paired(other, one).better, paired(other, one).worse) == (0, 1)


def test_the_difference_is_that_of_the_means_over_labels() -> None:
    one, other = np.array([[0.9, 0.5], [0.7, np.nan]]), np.array([[0.8, 0.1], [0.7, np.nan]])
    assert paired(one, other).difference.mean == pytest.approx((0.8 + 0.5) / 2 - (0.75 + 0.1) / 2)


def test_cases_of_one_patient_count_once_in_the_test() -> None:
    one, patients = FIRST[np.arange(36) // 4], np.arange(36) // 4
    other = SECOND[np.arange(36) // 4]
    found = paired(column(one), column(other), patients)
    once = paired(column(FIRST), column(SECOND))
    assert (found.p, found.better, found.worse, found.difference.cases) == (once.p, 7, 2, 36)
    for name in ("mean", "low", "high"):
        assert getattr(found.difference, name) == pytest.approx(getattr(once.difference, name))
    assert paired(column(one), column(other)).p < found.p / 10


def test_three_that_gain_are_not_surely_better() -> None:
    found = paired(np.full((3, 1), 0.6), np.full((3, 1), 0.5))
    assert (found.difference.low or 0) > 0 and not found.surely_better()
    assert paired(np.full((9, 1), 0.6), np.full((9, 1), 0.5)).surely_better()


@pytest.mark.slow
def test_alike_cases_of_patients_are_not_taken_for_a_difference() -> None:
    """25 patients of 4 scans, no true difference: at most about 5 in 100 are significant, by case one in four."""
    random, found = np.random.default_rng(0), {"patient": 0, "case": 0}
    patients = np.arange(100) // 4
    for _ in range(200):
        differences = 0.05 * random.normal(size=25)[patients] + 0.02 * random.normal(size=100)
        for name, whose in (("patient", patients), ("case", None)):
            p = paired(column(0.8 + differences), np.full((100, 1), 0.8), whose).p
            found[name] += p is not None and p < 0.05
    assert found["patient"] / 200 < 0.09  # 0.05 + 2.6 standard errors
    assert found["case"] / 200 > 0.25


def test_exchanging_both_turns_the_sign_only() -> None:
    one, other = paired(column(FIRST), column(SECOND)), paired(column(SECOND), column(FIRST))
    assert (one.p, one.better, one.worse) == (other.p, other.worse, other.better)
    assert one.difference.low == pytest.approx(-(other.difference.high or 0))
