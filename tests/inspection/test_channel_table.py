"""The table says what was measured, in words and within its width; what was not measured is not in it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoseg.alignment.record import RIGID, Alignment, Registration
from autoseg.core.records import from_json, to_json
from autoseg.data.fingerprint import (
    CaseFingerprint,
    ChannelFingerprint,
    ChannelGrid,
    Fingerprint,
    FusionQuality,
    ValueStatistics,
)
from autoseg.inspection.channel_table import WIDTH, channel_table
from autoseg.inspection.modalities import modality_told, undeclared_ct

INSIDE, OUTSIDE = ValueStatistics(100, 20, 60, 101, 150), ValueStatistics(30, 40, 0, 10, 120)
MEASURED = ChannelFingerprint(0, 200, 0, 50, 180, 99, "v", foreground=INSIDE, background=OUTSIDE, nonzero=OUTSIDE)
CASE = CaseFingerprint((20, 30, 40), (3.0, 1.0, 0.5), (20, 30, 40), 1.0, "x", orientation="LPS")


def fingerprint(*cases: CaseFingerprint) -> Fingerprint:
    return Fingerprint({f"c{number}": case for number, case in enumerate(cases)}, ())


def rows(text: str) -> dict[str, str]:
    """Label to what stands behind it."""
    found = (line.partition("  ") for line in text.splitlines()[1:])
    return {label: " ".join(rest.split()) for label, _, rest in found}


def two(**named: object) -> CaseFingerprint:
    """T2, and ADC on another grid that covers half of it."""
    grid = ChannelGrid((10, 15, 20), (3.0, 2.0, 1.0), "RAS", 0.5)
    first = replace(MEASURED, information=(None, 1.25), variation=0.12)
    second = replace(MEASURED, information=(1.25, None), grid=grid, modality="MR")
    return replace(CASE, channels=(first, second), **named)


def test_every_row_says_what_was_measured() -> None:
    case = two(shifts=(None, 2.5), fusion_quality=FusionQuality(12.346, 3.25, (1.5, 0.75)))
    text = channel_table(fingerprint(case, two()), "D", ("T2", "second"), Alignment(0))
    assert text.splitlines()[0] == "channels of D: medians of 2 cases, lengths: third, second, first axis"
    found = rows(text)
    assert found["channel"] == "0 T2 1 second"
    assert found["modality"] == "MR MR (guess)"
    assert found["present in"] == "2 of 2 cases 2 of 2 cases"
    assert found["voxels"] == "20 x 30 x 40 10 x 15 x 20"
    assert found["spacing, mm"] == "3 x 1 x 0.5 3 x 2 x 1"
    assert found["field of view, mm"] == "60 x 30 x 20 30 x 30 x 20"
    assert found["orientation"] == "LPS RAS"
    assert found["all voxels: 1, 50, 99 %"] == "0, 50, 180 0, 50, 180"
    assert found["foreground: mean (std)"] == "100 (20) 100 (20)"
    assert found["foreground: 1, 50, 99 %"] == "60, 101, 150 60, 101, 150"
    assert found["background: mean (std)"] == found["not 0: mean (std)"] == "30 (40) 30 (40)"
    assert found["brightness varies by"] == "12% -"
    assert found["NMI with T2 (1 to 2)"] == "- 1.250"
    assert found["covers T2"] == "- 50% of its view"
    assert found["off T2, mm"] == "- 2.5 (in 1 of 1)"
    assert found["bits in the fused picture"] == "1.50 0.75"
    assert "spatial frequency 12.35" in text and "average gradient 3.25" in text


def test_shifts_are_those_of_registering_where_that_was_asked_for() -> None:
    asked = Alignment(1, RIGID)
    used = Registration(asked, (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0), (0.0, 0.0, 0.0), 1.1, 1.3, 7.0)
    useless = replace(used, after=1.1, displacement=50.0)
    cases = [two(registrations=(used, None)), two(registrations=(useless, None))]
    found = rows(channel_table(fingerprint(*cases), "D", ("T1", "T2"), asked))
    assert found["off T2, mm"] == "7.0 (in 1 of 2) -"
    assert found["NMI with T2 (1 to 2)"] == "1.250 -"
    none = rows(channel_table(fingerprint(two(shifts=(None, None))), "D", ("T1", "T2"), Alignment(0)))
    assert none["off T1, mm"] == "- none found in 1"


def test_channels_that_cases_lack_are_counted() -> None:
    lacking = replace(CASE, channels=(MEASURED, None))
    text = channel_table(fingerprint(lacking, two()), "D", ("T1", "T2"), None)
    assert rows(text)["present in"] == "2 of 2 cases 1 of 2 cases"
    alone = rows(channel_table(fingerprint(lacking), "D", ("T1", "T2"), None))
    assert alone["present in"] == "1 of 1 cases 0 of 1 cases" and alone["voxels"] == "20 x 30 x 40 -"


def test_many_channels_and_long_names_stay_within_the_width() -> None:
    long = replace(MEASURED, low=-123456.789, median=1.23456e-9, high=9.87654e12, information=(1.0,) * 20)
    names = tuple(f"channel with a very long name {number} " + "x" * 100 for number in range(20))
    text = channel_table(fingerprint(replace(CASE, channels=(long,) * 20), CASE), "D" * 150, names, None)
    assert max(map(len, text.splitlines())) <= WIDTH
    assert all(f" {number} chan" in text for number in range(20))


def test_images_without_a_third_axis_have_two_lengths() -> None:
    flat = replace(CASE, shape=(1, 30, 40), cropped_shape=(1, 30, 40), spacing=(999.0, 1.0, 0.5), orientation=None)
    found = rows(channel_table(fingerprint(replace(flat, channels=(MEASURED,))), "D", ("R",), None))
    assert (found["voxels"], found["field of view, mm"]) == ("30 x 40", "30 x 20")
    assert found["modality"] == "colour" and "orientation" not in found


def test_fingerprints_of_before_have_fewer_rows() -> None:
    record = to_json(fingerprint(two(fusion_quality=FusionQuality(1, 1, (1, 1)))))
    for case in record["cases"].values():
        del case["fusion_quality"]
        for channel in case["channels"]:
            for name in ("modality", "foreground", "background", "nonzero", "grid", "information"):
                del channel[name]
    old: Fingerprint = from_json(Fingerprint, record)
    found = rows(channel_table(old, "D", ("T2", "second"), None))
    assert {*found} == {
        *("channel", "modality", "present in", "voxels", "spacing, mm", "field of view, mm", "orientation"),
        *("all voxels: 1, 50, 99 %", "brightness varies by"),
    }
    assert found["modality"] == "MR not known"
    assert (
        channel_table(fingerprint(CASE), "D", ("T1",), None) == channel_table(fingerprint(), "D", ("T1",), None) == ""
    )


@pytest.mark.parametrize(
    ("name", "guesses", "wanted"),
    [
        ("T1", (None,), "MR"),
        ("T1", ("CT",), "MR, like CT"),
        ("image", ("CT", "CT", "MR"), "CT (guess)"),
        ("image", (None, None, "MR"), "not known"),
        ("image", (), "not known"),
        ("PET", (None,), "PET"),
        ("R", (None,), "colour"),
    ],
)
def test_a_modality_is_told_with_how_it_is_known(name: str, guesses: tuple[str | None, ...], wanted: str) -> None:
    assert modality_told(name, [replace(MEASURED, modality=guess) for guess in guesses]) == wanted


def of_values(*channels: tuple[float, str | None]) -> dict[str, CaseFingerprint]:
    return {
        f"c{number}": replace(CASE, channels=(replace(MEASURED, minimum=minimum, modality=guess),))
        for number, (minimum, guess) in enumerate(channels)
    }


def test_what_looks_like_ct_and_is_not_named_so_is_told_with_what_to_do() -> None:
    cases = of_values((-1024, "CT"), (-1000, "CT"), (0, "MR"))
    (told,) = undeclared_ct(cases, ["T1; x"])
    assert told.severity == "note" and told.case == "all cases"
    assert "channel 0 (T1; x) looks like CT" in told.what and "-1012 in 2 of 3 cases" in told.what
    assert '"channel_names": {"0": "CT"}' in told.cure and "--normalizer 'T1; x=ct'" in told.cure.replace(
        "'=ct", "=ct'"
    )


@pytest.mark.parametrize("name", ["CT", "ct", "noNorm", "rescale_to_0_1"])
def test_channels_whose_name_says_how_to_normalise_are_left_alone(name: str) -> None:
    assert undeclared_ct(of_values((-1024, "CT")), [name]) == []


def test_ct_by_a_longer_name_is_told_and_few_cases_are_not() -> None:
    assert len(undeclared_ct(of_values((-1024, None)), ["CT_portal"])) == 1
    assert undeclared_ct(of_values((-1024, "CT"), (0, "MR")), ["image"]) == []
    assert undeclared_ct(of_values((0, None)), ["CT_portal"]) == []
    assert undeclared_ct({}, ["image"]) == []
