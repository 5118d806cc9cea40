"""Ranges of the training data, and which cases lie outside of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoseg.core.labels import ExclusiveLabels
from autoseg.core.records import from_json, to_json
from autoseg.data.fingerprint import CaseFingerprint, ChannelFingerprint, Fingerprint
from autoseg.data.training_ranges import Range, TrainingRanges, Unlike, training_ranges, unlike
from autoseg.errors import RecordError

LABELS = ExclusiveLabels({"background": 0, "organ": 1, "lesion": 2})
NAMES = ("T1", "T2")


def channel(low: float, median: float, high: float) -> ChannelFingerprint:
    return ChannelFingerprint(low - 1, high + 1, low, median, high, 50, "")


def case(
    spacing: tuple[float, float, float], orientation: str | None = "LPS", lacks: bool = False, labels=(1, 2)
) -> CaseFingerprint:
    channels = (channel(0, 100 * spacing[0], 300 * spacing[0]), None if lacks else channel(-5, 0, 5))
    return CaseFingerprint(
        (10, 20, 40), spacing, (10, 20, 40), 1.0, "", labels=labels, orientation=orientation, channels=channels
    )


def known(*cases: CaseFingerprint) -> TrainingRanges:
    found = training_ranges(Fingerprint({str(n): each for n, each in enumerate(cases)}, ()), 2, LABELS)
    assert found is not None
    return found


TWO = known(case((3.0, 1.0, 0.5)), case((4.0, 1.0, 0.5), "RAS", labels=(1,)))
SAME = (channel(0, 350, 1000), channel(-5, 0, 5))


def told(orientation="LPS", shape=(10, 20, 40), spacing=(3.5, 1.0, 0.5), channels=SAME) -> list[Unlike]:
    return unlike(TWO, orientation, shape, spacing, channels, NAMES)


def test_ranges_are_from_the_least_to_the_largest_along_the_patient() -> None:
    assert TWO.spacing == {"left-right": Range(0.5, 0.5), "front-back": Range(1, 1), "feet-head": Range(3, 4)}
    assert TWO.extent == {"left-right": Range(20, 20), "front-back": Range(20, 20), "feet-head": Range(30, 40)}
    assert (TWO.cases, TWO.orientations, TWO.labels, TWO.absent) == (2, ("LPS", "RAS"), ("organ",), ())
    assert TWO.intensities[0] == (Range(0, 0), Range(300, 400), Range(900, 1200))


def test_axes_of_files_in_another_order_are_compared_as_they_lie_in_the_patient() -> None:
    """x of the file runs from feet to head."""
    assert unlike(TWO, "SPL", (40, 20, 10), (0.5, 1.0, 3.5), SAME, NAMES) == [Unlike("orientation", "SPL", "LPS, RAS")]


def test_a_case_like_the_others_is_not_told() -> None:
    assert told() == []
    assert told(spacing=(4.3, 1.05, 0.47)) == []  # within a tenth


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"spacing": (5.0, 1.0, 0.5), "shape": (8, 20, 40)}, Unlike("voxel spacing feet-head", "5 mm", "3 to 4 mm")),
        ({"shape": (10, 40, 40)}, Unlike("field of view front-back", "40 mm", "20 mm")),
        ({"orientation": "LAS"}, Unlike("orientation", "LAS", "LPS, RAS")),
        ({"channels": (SAME[0], None)}, Unlike("channel T2", "missing", "in every case")),
        (
            {"channels": (channel(0, 350, 1500), SAME[1])},
            Unlike("intensities of T1, 99th percentile", "1500", "900 to 1200"),
        ),
        ({"channels": (channel(0, 600, 1000), SAME[1])}, Unlike("intensities of T1, median", "600", "300 to 400")),
    ],
)
def test_what_lies_outside_is_told_with_the_range(given: dict, expected: Unlike) -> None:
    assert told(**given) == [expected]


def test_a_channel_that_was_missing_in_training_may_be() -> None:
    ranges = known(case((3.0, 1.0, 0.5), lacks=True), case((4.0, 1.0, 0.5)))
    assert ranges.absent == (1,)
    assert unlike(ranges, "LPS", (10, 20, 40), (3.5, 1.0, 0.5), (SAME[0], None), NAMES) == []


def test_where_an_orientation_is_not_known_axes_are_those_of_files() -> None:
    ranges = known(case((3.0, 1.0, 0.5), None), case((4.0, 1.0, 0.5), None))
    assert ranges.spacing["z"] == Range(3, 4) and ranges.orientations == ()
    mixed = known(case((3.0, 1.0, 0.5), None), case((4.0, 1.0, 0.5)))
    assert mixed.spacing == {} and unlike(mixed, "LPS", (1, 1, 1), (99.0, 99.0, 99.0), SAME, NAMES) == []
    flat = replace(case((999.0, 1.0, 1.0), None), shape=(1, 20, 40))
    assert set(known(flat).spacing) == {"x", "y"}  # the slice of a picture has no thickness


def test_a_record_is_read_back_and_a_damaged_one_is_told() -> None:
    assert from_json(TrainingRanges, to_json(TWO)) == TWO
    for field, wrong in (("cases", 0), ("orientations", ["LLL"]), ("spacing", {"x": {"low": 2, "high": 1}})):
        with pytest.raises(RecordError):
            from_json(TrainingRanges, to_json(TWO) | {field: wrong})
    assert training_ranges(Fingerprint({}, ()), 2, LABELS) is None
