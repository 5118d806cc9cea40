"""What the user asks of single channels, and what the fingerprint suggests for them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autoseg.core.records import from_json, to_json
from autoseg.data.fingerprint import LARGE_VARIATION, CaseFingerprint, ChannelFingerprint, Fingerprint, Intensities
from autoseg.errors import PlanningError, UnknownPartError, UsageError
from autoseg.parts.augmentations import standard
from autoseg.parts.filters import gaussian, median, n4
from autoseg.parts.normalizers import ct, histogram, none, pet_suv, zscore
from autoseg.plan import Plan
from autoseg.planning.constraints import NO_CONSTRAINTS, PlanConstraints
from autoseg.planning.intensities import decide_intensities, read_wishes

NAMES = ("FLAIR", "t1", "CT", "PET")
DECILES = tuple(float(value) for value in range(0, 110, 10))


def channel(variation: float | None = None, scale: float = 1.0) -> ChannelFingerprint:
    landmarks = tuple(scale * value for value in DECILES)
    bright = tuple(scale * (50 + value**2) for value in DECILES)
    return ChannelFingerprint(0.0, 9.0, 0.0, 4.0, 8.0, 900, "", landmarks, bright, variation)


def measured(*variations: float | None, fraction: float = 1.0, scales: tuple[float, ...] = (1.0, 3.0)) -> Fingerprint:
    """Two cases of other scales; what brightness varies by in each channel."""
    cases = {
        str(number): CaseFingerprint(
            (9, 9, 9),
            (1.0, 1.0, 1.0),
            (9, 9, 9),
            fraction,
            "",
            channels=tuple(channel(each, scale) for each in variations),
        )
        for number, scale in enumerate(scales)
    }
    values = Intensities(40.0, 41.0, 20.0, -900.0, 900.0, -80.0, 210.0)
    return Fingerprint(cases, (values,) * len(variations))


MEASURED = measured(None, None, None, None)


@pytest.fixture
def plan(small_plan: Plan) -> Plan:
    configuration = replace(
        small_plan.configurations["3d_fullres"], normalizers=(zscore.Spec(),) * 4, augmentation=standard.Spec()
    )
    reasons = tuple(f"channel {name}: z-score" for name in NAMES)
    return replace(small_plan, channels=NAMES, configurations={"3d_fullres": configuration}, reasons=reasons)


def decided(plan: Plan, fingerprint: Fingerprint = MEASURED, **wishes: Any) -> Plan:
    return decide_intensities(plan, PlanConstraints(**wishes), fingerprint)


def test_nothing_is_filtered_that_was_not_asked_for(plan: Plan) -> None:
    assert decide_intensities(plan, NO_CONSTRAINTS, MEASURED) == plan
    suggested = decided(plan, measured(0.9, None, None, None))
    assert replace(suggested, reasons=plan.reasons) == plan


def test_bias_correction_is_n4_of_the_channels_that_are_named(plan: Plan) -> None:
    """By name in any case, or by number."""
    for named in (("flair", "T1"), ("0", "1"), ("FLAIR", "1", "0")):
        found = decided(plan, bias_correction=named).configurations["3d_fullres"]
        assert found.filters == ((n4.Spec(),), (n4.Spec(),), (), ())


def test_all_are_those_of_mr(plan: Plan) -> None:
    found = decided(plan, bias_correction=("all",)).configurations["3d_fullres"]
    assert found.filters == ((n4.Spec(),), (n4.Spec(),), (), ())
    with pytest.raises(UsageError, match="no channel"):
        read_wishes(PlanConstraints(bias_correction=("all",)), ("CT", "PET"))


def test_filters_follow_one_another_after_the_bias_correction(plan: Plan) -> None:
    wishes = {"bias_correction": ("t1",), "filters": (("T1", "median"), ("CT", "gaussian"), ("T1", "gaussian"))}
    found = decided(plan, **wishes)
    expected = ((), (n4.Spec(), median.Spec(), gaussian.Spec()), (gaussian.Spec(),), ())
    assert found.configurations["3d_fullres"].filters == expected
    assert "channel t1: filtered before it is normalised, as you asked: n4, median, gaussian" in found.reasons
    assert from_json(Plan, to_json(found)) == found


def test_normalizers_are_those_that_are_named_with_what_they_need_of_the_training_cases(plan: Plan) -> None:
    named = (("FLAIR", "histogram"), ("t1", "none"), ("CT", "ct"), ("PET", "pet_suv"))
    found = decided(plan, normalizers=named)
    parts = found.configurations["3d_fullres"].normalizers
    bright = [tuple(50 + value**2 for value in DECILES)]
    assert parts[0] == histogram.learned(bright, mask=False)  # cases of two scales, one shape
    assert parts[1:] == (none.Spec(), ct.Spec(40.0, 20.0, -80.0, 210.0), pet_suv.Spec())
    assert found.configurations["3d_fullres"].filters == ()
    assert not [reason for reason in found.reasons if reason.endswith(": z-score")]
    assert sum("as you asked" in reason for reason in found.reasons) == 4


def test_histogram_and_zscore_look_inside_the_nonzero_region_where_it_is_small(plan: Plan) -> None:
    """And the augmentation leaves the zeros around it alone."""
    small = measured(None, None, None, None, fraction=0.4)
    found = decided(plan, small, normalizers=(("FLAIR", "histogram"), ("PET", "zscore"))).configurations["3d_fullres"]
    assert found.normalizers[0] == histogram.learned([DECILES], mask=True)
    assert found.normalizers[3] == zscore.Spec(mask=True)
    assert found.augmentation.masked_channels == (0, 3)


def test_a_histogram_that_was_not_measured_is_refused(plan: Plan) -> None:
    blank = Fingerprint({"a": CaseFingerprint((9, 9, 9), (1.0,) * 3, (9, 9, 9), 1.0, "")}, MEASURED.intensities)
    with pytest.raises(PlanningError, match="autoseg fingerprint"):
        decided(plan, blank, normalizers=(("FLAIR", "histogram"),))


def test_a_large_slow_variation_is_told_with_the_flag(plan: Plan) -> None:
    varied = measured(0.31, LARGE_VARIATION / 2, None, None)
    (told,) = set(decided(plan, varied).reasons) - set(plan.reasons)
    assert told.startswith("channel FLAIR: ") and "31%" in told and "--bias-correction FLAIR" in told
    corrected = decided(plan, varied, bias_correction=("FLAIR",)).reasons
    assert any("31%" in reason and "N4 corrects the field" in reason for reason in corrected)
    assert not any("--bias-correction" in reason for reason in corrected)


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        ({"bias_correction": ("nope",)}, r"--bias-correction: there is no channel 'nope'.*FLAIR \(0\)"),
        ({"bias_correction": ("all", "FLAIR")}, "there is no channel 'all'"),
        ({"bias_correction": ("CT",)}, "Hounsfield"),
        ({"bias_correction": ("4",)}, "there is no channel '4'"),
        ({"filters": (("T9", "median"),)}, "--filter: there is no channel 'T9'"),
        ({"normalizers": (("T9", "ct"),)}, "--normalizer: there is no channel 'T9'"),
        ({"normalizers": (("FLAIR", "ct"), ("flair", "zscore"))}, "two are asked for FLAIR"),
    ],
)
def test_a_channel_that_there_is_not_is_refused_with_those_that_there_are(wishes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_wishes(PlanConstraints(**wishes), NAMES)


@pytest.mark.parametrize("wishes", [{"filters": (("FLAIR", "nope"),)}, {"normalizers": (("FLAIR", "os.path"),)}])
def test_a_part_that_there_is_not_is_refused(wishes: dict[str, Any]) -> None:
    with pytest.raises(UnknownPartError):
        read_wishes(PlanConstraints(**wishes), NAMES)


def test_channels_whose_names_differ_in_case_only_are_told_apart() -> None:
    for named, number in (("t2", 0), ("T2", 1), ("1", 1)):
        assert [*read_wishes(PlanConstraints(filters=((named, "median"),)), ("t2", "T2")).filters] == [number]
    with pytest.raises(UsageError, match="or its number"):
        read_wishes(PlanConstraints(filters=(("T2", "median"),)), ("t2", "t2"))
