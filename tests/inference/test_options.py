"""What a user decides about a prediction is checked at once and means one thing."""

import pytest

from autoseg.errors import UsageError
from autoseg.inference.options import PredictOptions


@pytest.mark.parametrize(
    "tta, pays, expected",
    [
        ("full", False, (0, 2)),
        ("none", True, ()),
        ("auto", True, (0, 2)),
        ("auto", False, ()),
        ("auto", None, (0, 2)),
    ],
)
def test_auto_mirrors_unless_it_was_found_not_to_pay(tta, pays, expected):
    assert PredictOptions(tta).mirror_axes((0, 2), pays) == expected


def test_an_unknown_tta_is_refused_with_the_choices():
    with pytest.raises(UsageError, match="auto, none, full"):
        PredictOptions("half")


@pytest.mark.parametrize("step", [0.0, -0.5, 1.1, float("nan")])
def test_a_step_that_leaves_gaps_or_never_ends_is_refused(step):
    with pytest.raises(UsageError, match="step"):
        PredictOptions(step=step)
