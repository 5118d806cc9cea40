"""Two ways to predict are compared on the same cases; the test's numbers are those of R's wilcox.test."""

from __future__ import annotations

import numpy as np
import pytest

from autoseg.evaluation.paired import paired

# Hollander and Wolfe 1973, p. 29f, depression scale at two visits: the example of R's wilcox.test.
FIRST = np.array([1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30])
SECOND = np.array([0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29])


def test_the_p_value_is_the_published_one() -> None:
    found = paired(FIRST, SECOND)
    assert found.p == pytest.approx(0.03906, abs=1e-5)  # two-sided; R's example is one-sided, 0.01953
    assert (found.better, found.worse) == (7, 2)
    assert found.difference.mean == pytest.approx((FIRST - SECOND).mean())


def test_the_interval_is_that_of_the_mean() -> None:
    random = np.random.default_rng(0)
    one, other = random.normal(0.3, 1.0, 400), np.zeros(400)
    found = paired(one, other).difference
    margin = 1.96 * one.std() / np.sqrt(400)  # of a normal mean; a bootstrap of 400 cases comes close to it
    assert found.low == pytest.approx(one.mean() - margin, abs=0.02)
    assert found.high == pytest.approx(one.mean() + margin, abs=0.02)


def test_equal_scores_have_no_p_value() -> None:
    found = paired(FIRST, FIRST)
    assert (found.p, found.better, found.worse, found.difference.mean) == (None, 0, 0, 0.0)


def test_cases_without_a_number_are_left_out() -> None:
    found = paired(np.array([0.5, np.nan, 0.7]), np.array([0.4, 0.3, np.nan]))
    assert (found.difference.cases, found.better) == (1, 1) and found.difference.low is None
    assert paired(np.array([np.nan]), np.array([0.1])).difference.mean is None


def test_exchanging_both_turns_the_sign_only() -> None:
    one, other = paired(FIRST, SECOND), paired(SECOND, FIRST)
    assert (one.p, one.better, one.worse) == (other.p, other.worse, other.better)
    assert one.difference.low == pytest.approx(-(other.difference.high or 0))
