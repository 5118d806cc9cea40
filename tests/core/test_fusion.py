"""What a user says of fusion, and which channels that means."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoseg.core.fusion import DECISION, INPUT, LEVELS, METHODS, MIDDLE, UNPAIRED, Fusion, read_levels, written_levels
from autoseg.core.records import from_json, to_json
from autoseg.errors import UsageError

CHANNELS = ("T1", "T1ce", "FLAIR", "T2")


@pytest.mark.parametrize("text", [None, "input"])
def test_fusion_at_the_input_is_nothing_to_note(text: str | None) -> None:
    assert Fusion.read(text) is None


def test_every_level_is_understood_and_written_as_it_is_read() -> None:
    found = [Fusion.read(level, "T1, T1ce; FLAIR,T2") for level in LEVELS[1:] if level != UNPAIRED]
    groups = (("T1", "T1ce"), ("FLAIR", "T2"))
    middle = [Fusion("middle", method, groups) for method in (METHODS[0], *METHODS)]
    assert found == [*middle, Fusion("decision", None, groups)]
    assert all(from_json(Fusion, to_json(each)) == each for each in found)
    assert Fusion.read("middle", [["T1", "T1ce"], ["FLAIR", "T2"]]) == found[0]


def test_unpaired_modalities_are_not_grouped() -> None:
    found = Fusion.read(UNPAIRED)
    assert found == Fusion("unpaired", None) and from_json(Fusion, to_json(found)) == found
    with pytest.raises(ValueError, match="takes no groups"):
        Fusion.read(UNPAIRED, "CT;MR")


def test_channels_are_found_by_name_in_any_case_or_by_number() -> None:
    assert Fusion("middle", "attention", (("t1CE", "T2"), ("0", "flair"))).numbered(CHANNELS) == ((1, 3), (0, 2))
    assert Fusion("middle", groups=(("1",), ("0",))).numbered(("1", "2")) == ((0,), (0,)), (
        "a name comes before a number"
    )


@pytest.mark.parametrize("level", ["middle", "decision"])
def test_a_group_holds_a_channel(level: str) -> None:
    with pytest.raises(ValueError, match="a group holds no channel"):
        Fusion.read(level, [["T1"], []])


def test_channels_are_gone_over_once_however_many_are_named() -> None:
    """In a stranger's plan thousands of channels may be named a million times."""

    class Counted(tuple[str, ...]):
        times = 0

        def __iter__(self) -> Iterator[str]:
            type(self).times += 1
            return super().__iter__()

    channels = Counted(f"c{number}" for number in range(50))
    assert Fusion("middle", groups=(tuple(channels),) * 20).numbered(channels) == (tuple(range(50)),) * 20
    assert Counted.times < 10


@pytest.mark.parametrize(
    ("level", "groups", "said"),
    [
        ("late", "", "choose one of input, middle, middle:concatenation"),
        ("middle:sum", "", "choose one of"),
        ("input", "T1;T2", "ask for fusion middle or decision, too"),
        (None, "T1;T2", "ask for fusion middle or decision, too"),
        ("middle", "T1,;T2", "is empty"),
        ("middle", ";", "is empty"),
    ],
)
def test_what_cannot_be_meant_is_refused(level: str | None, groups: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Fusion.read(level, groups or ())


def test_a_channel_that_is_none_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(UsageError, match=r"--groups: there is no channel 'PD'; name one of T1 \(0\), T1ce \(1\), "):
        Fusion("middle", groups=(("T1", "PD"),)).numbered(CHANNELS)


@pytest.mark.parametrize(
    "values",
    [("late", "attention"), ("middle", "sum"), ("middle", None), ("decision", "attention"), ("unpaired", "attention")],
)
def test_a_record_that_nobody_can_mean_is_refused(values: tuple[str, str | None]) -> None:
    with pytest.raises(ValueError, match="fusion"):
        Fusion(*values)


PLANNED = tuple(level for level in LEVELS if level not in (UNPAIRED, f"{MIDDLE}:{METHODS[0]}"))


@given(st.permutations(PLANNED), st.integers(1, len(PLANNED)), st.sampled_from(["", "T1,T1ce;FLAIR,T2"]))
def test_levels_are_written_as_they_are_read(order: list[str], count: int, groups: str) -> None:
    levels = order[:count]
    given = groups if {*levels} - {INPUT} else ""
    fusion, beside = read_levels(levels, given or ())
    assert read_levels(" , ".join(levels), given or ()) == (fusion, beside), "text and list mean the same"
    if count == 1:
        assert (fusion, beside) == (Fusion.read(levels[0], given or ()), ())
    else:
        assert fusion == (Fusion.read(DECISION, given or ()) if DECISION in levels else None)
        assert [each.written for each in beside] == [level for level in levels if level.startswith(MIDDLE)]
    text, of_text = written_levels(fusion, beside)
    assert read_levels(text, of_text or ()) == (fusion, beside)


def test_a_configuration_is_called_by_what_fuses() -> None:
    names = [Fusion(MIDDLE, method).suffix for method in METHODS]
    assert names == ["middle", "middle_mean_maximum", "middle_attention"]
    assert read_levels("middle:concatenation,input") == (None, (Fusion(MIDDLE),))


@pytest.mark.parametrize(
    ("levels", "said"),
    [
        ("", "fusion '' is unknown; choose among input, middle"),
        ("input,", "fusion '' is unknown"),
        ("input,late", "fusion 'late' is unknown"),
        ("input, input", "fusion input is named twice in input,input"),
        ("middle,middle:concatenation", "fusion middle is named twice in middle,middle:concatenation"),
        ("input,unpaired", "fusion unpaired stands alone"),
        (["unpaired", "unpaired"], "fusion unpaired stands alone"),
        ("input," * 100_000 + "input", "fusion input is named twice in input,input"),
        ([], "is unknown"),
        (3, "fusion 3 is unknown"),
        ([3, "input"], "fusion '?3'? is unknown"),
        ([["input"]], "is unknown"),
        ({"input": 1}, "is unknown"),
    ],
)
def test_levels_that_cannot_be_meant_are_refused(levels: object, said: str) -> None:
    with pytest.raises(ValueError, match=said) as refused:
        read_levels(levels)  # type: ignore[arg-type]
    assert len(str(refused.value)) < 500
