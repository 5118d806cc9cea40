"""The Dice that agreement lets expect, its error on patients that were left out, and risk against coverage."""

from __future__ import annotations

import numpy as np
import pytest

from autoseg.core.dice_line import DiceLine
from autoseg.evaluation.predicted_dice import Seen, held_out, learn, risk_coverage


def cases(agreement: np.ndarray, dice: np.ndarray, label: str = "organ", patients: int = 0) -> list[Seen]:
    """``patients`` 0: each case is one."""
    return [
        Seen(f"case {number}", f"patient {number % patients if patients else number}", label, float(a), float(d))
        for number, (a, d) in enumerate(zip(agreement, dice))
    ]


def drawn(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    agreement = random.uniform(0.6, 0.98, count)
    return agreement, (1.2 * agreement - 0.25 + random.normal(0, 0.03, count)).clip(0, 1)


@pytest.mark.parametrize("patients", [0, 7])
def test_a_line_and_its_error_are_those_of_numpy(patients: int) -> None:
    agreement, dice = drawn(30)
    given = cases(agreement, dice, patients=patients)
    line = learn(given)["organ"]
    slope, intercept = np.polyfit(agreement, dice, 1)
    assert (line.slope, line.intercept) == pytest.approx((slope, intercept))
    expected = []
    for each in given:  # of all other patients
        others = [other for other in given if other.patient != each.patient]
        found = np.polyfit([other.agreement for other in others], [other.dice for other in others], 1)
        expected.append(np.polyval(found, each.agreement).clip(0, 1))
    np.testing.assert_allclose(held_out(given), expected, rtol=1e-6)
    assert line.error == pytest.approx(np.abs(np.array(expected) - dice).mean())
    assert line.r == pytest.approx(np.corrcoef(expected, dice)[0, 1])
    assert (line.cases, line.pooled) == (30, False)


def test_what_agrees_better_is_never_predicted_to_be_worse() -> None:
    agreement, dice = drawn(20)
    line = learn(cases(agreement, 1 - dice))["organ"]
    assert line.slope == 0 and line.intercept == pytest.approx((1 - dice).mean())


def test_a_label_with_few_cases_takes_the_line_of_all_together() -> None:
    agreement, dice = drawn(20)
    few = cases(agreement[:4], dice[:4], "lesion")
    lines = learn([*cases(agreement, dice), *few])
    slope, _ = np.polyfit([*agreement, *agreement[:4]], [*dice, *dice[:4]], 1)
    assert lines["lesion"].pooled and lines["lesion"].slope == pytest.approx(slope)
    assert not lines["organ"].pooled


@pytest.mark.parametrize("count", [0, 1, 9])
def test_too_few_cases_teach_nothing(count: int) -> None:
    assert learn(cases(*drawn(count))) == {}
    assert learn(cases(*drawn(20), patients=4)) == {}  # five patients at least


def test_agreement_that_does_not_vary_gives_the_mean() -> None:
    dice = np.linspace(0.5, 0.9, 12)
    line = learn(cases(np.full(12, 0.9), dice))["organ"]
    assert line.slope == 0 and line.dice(0.4) == pytest.approx(0.7)
    perfect = learn(cases(np.full(12, 0.9), np.full(12, 0.8)))["organ"]
    assert perfect.r is None and perfect.error == pytest.approx(0)


@pytest.mark.parametrize("apart", [5e-7, 1e-5])
def test_agreement_that_hardly_varies_gives_the_mean(apart: float) -> None:
    """Of least squares the slope would be beyond all bounds."""
    dice = np.tile([0.9, 0.2], 10)
    line = learn(cases(np.tile([1.0, 1 - apart], 10), dice))["organ"]
    assert line.slope == 0 and line.dice(1.0) == pytest.approx(0.55)


def test_a_predicted_dice_stays_one() -> None:
    line = DiceLine(2.0, -1.0, 0.1, 0.9, 12)
    assert [line.dice(agreement) for agreement in (0.0, 0.75, 1.0)] == [0.0, 0.5, 1.0]
    assert line.dice(None) is None
    for wrong in ({"slope": -1.0}, {"error": -0.1}, {"r": 1.5}, {"cases": 0}, {"intercept": 1e9}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            DiceLine(**({"slope": 1.0, "intercept": 0.0, "error": 0.1, "r": 0.5, "cases": 3} | wrong))


def test_risk_against_coverage_by_hand() -> None:
    found = risk_coverage([0.2, 0.9, 0.6], [0.5, 0.9, 0.7])
    np.testing.assert_allclose(found.coverage, [1 / 3, 2 / 3, 1])
    np.testing.assert_allclose(found.risk, [0.1, 0.2, 0.3])  # 0.1; (0.1 + 0.3) / 2; (0.1 + 0.3 + 0.5) / 3
    assert found.area == pytest.approx(0.2)


def test_cases_that_are_equally_sure_count_as_their_mean() -> None:
    for dice in ([1.0, 0.0, 0.5], [0.0, 1.0, 0.5]):
        found = risk_coverage([0.8, 0.8, 0.1], dice)
        np.testing.assert_allclose(found.risk, [0.5, 0.5, 0.5])
