"""What training withholds from a patch, and what is validated of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoseg.core.channels import ChannelSource
from autoseg.core.missing import MissingChannels, subset_name
from autoseg.core.records import from_json, to_json
from autoseg.errors import RecordError

CHANNELS = ("T1", "T1ce", "T2", "FLAIR")
SHARES = st.floats(0, 1)


@st.composite
def situations(draw: st.DrawFn) -> tuple[MissingChannels, set[int], int]:
    """A plan, what a case lacks of the channels that it may lack, and a seed."""
    rates = draw(st.dictionaries(st.sampled_from(CHANNELS), SHARES, min_size=1))
    missing = MissingChannels(rates, draw(SHARES))
    absent = draw(st.sets(st.sampled_from(missing.optional(CHANNELS)), max_size=3))
    return missing, absent, draw(st.integers(0, 10**6))


@given(situations())
def test_a_channel_always_stays_and_required_ones_always_do(situation: tuple[MissingChannels, set[int], int]) -> None:
    missing, absent, seed = situation
    for row in missing.draw(np.random.default_rng(seed), batch=20, channels=4):
        lost = missing.withheld(row, CHANNELS, absent)
        left = {0, 1, 2, 3} - absent - {*lost}
        assert left and not {*lost} & absent
        assert all(CHANNELS[number] in missing.rates for number in lost)


def lost_of(missing: MissingChannels, absent: tuple[int, ...] = (), patches: int = 4000) -> list[tuple[int, ...]]:
    rows = missing.draw(np.random.default_rng(0), batch=patches, channels=4)
    return [missing.withheld(row, CHANNELS, absent) for row in rows]


def test_targeted_dropout_withholds_each_channel_by_its_rate() -> None:
    lost = lost_of(MissingChannels({"T2": 0.1, "FLAIR": 0.4}))
    assert {*lost} == {(), (2,), (3,), (2, 3)}
    for number, rate in ((2, 0.1), (3, 0.4)):
        assert np.mean([number in each for each in lost]) == pytest.approx(rate, abs=0.03)
    assert {*lost_of(MissingChannels({"T2": 0.0, "FLAIR": 0.0}))} == {()}


def test_uniform_dropout_leaves_its_share_whole_and_withholds_any_combination() -> None:
    lost = lost_of(MissingChannels(dict.fromkeys(CHANNELS, 0.0), uniform=0.5))
    assert np.mean([not each for each in lost]) == pytest.approx(0.5, abs=0.03)
    shares = {each: lost.count(each) / len(lost) / 0.5 for each in {*lost} if each}
    assert len(shares) == 14 and min(shares.values()) > 0.04 and max(shares.values()) < 0.11  # alike would be 0.071
    assert {*lost_of(MissingChannels({"FLAIR": 0.0}, uniform=1.0))} == {(3,)}


def test_of_a_case_that_has_one_channel_nothing_is_withheld() -> None:
    every = MissingChannels(dict.fromkeys(CHANNELS, 1.0), uniform=0.5)
    assert {*lost_of(every, (0, 1, 3))} == {()}
    assert {len(each) for each in lost_of(MissingChannels(dict.fromkeys(CHANNELS, 1.0)))} == {3}


def test_what_is_validated() -> None:
    every = MissingChannels(dict.fromkeys(CHANNELS, 0.0), uniform=0.5)
    found = every.combinations(CHANNELS, ())
    assert len(found) == 14 and found[0] == (0,) and found[-1] == (1, 2, 3)
    assert len(every.combinations((*CHANNELS, "PET"), ())) == 4  # of five channels each alone, of those that may lack
    some = MissingChannels({"T2": 0.1, "FLAIR": 0.4})
    assert some.combinations(CHANNELS, [(), (2, 3), (3,)]) == [(2,), (3,), (2, 3)]
    required = MissingChannels({"T2": 0.0, "FLAIR": 0.0}, uniform=0.5)
    assert required.combinations(CHANNELS, ()) == [(2,), (3,), (2, 3)]
    both = MissingChannels({"a": 0.2, "b": 0.2})
    assert both.combinations(("a", "b"), ()) == [(0,), (1,)]
    assert subset_name(CHANNELS, (0, 2)) == "T1ce + FLAIR" and subset_name(CHANNELS) == "T1 + T1ce + T2 + FLAIR"


def test_volumes_of_one_file_are_withheld_together() -> None:
    sources = (ChannelSource(0), *(ChannelSource(1, volume) for volume in (0, 3, 7)), ChannelSource(2))
    names = ("T2", "b0", "b400", "b1400", "ADC")
    every = MissingChannels(dict.fromkeys(names, 0.1), uniform=0.5)
    assert every.combinations(names, (), sources) == [(0,), (4,), (0, 4), (1, 2, 3), (0, 1, 2, 3), (1, 2, 3, 4)]
    targeted = MissingChannels(dict.fromkeys(names, 0.1))
    assert targeted.combinations(names, [(), (0, 4)], sources) == [(0,), (4,), (0, 4), (1, 2, 3)]
    required = MissingChannels({"b0": 0.1, "ADC": 0.1}, uniform=0.5)  # b400 of the same file is never missing
    assert required.combinations(names, (), sources) == [(4,)]
    between = (ChannelSource(1, 0), ChannelSource(0), ChannelSource(1, 1))
    found = MissingChannels(dict.fromkeys(("a", "b", "c"), 0.1), uniform=0.5).combinations(("a", "b", "c"), (), between)
    assert found == [(1,), (0, 2)]


def test_what_is_wrong_with_a_case_that_lacks_channels() -> None:
    missing = MissingChannels({"T2": 0.1, "FLAIR": 0.4})
    assert missing.problem_without(CHANNELS, (2, 3)) is None and missing.problem_without(CHANNELS, ()) is None
    said = missing.problem_without(CHANNELS, (0, 3))
    assert said is not None and "lacks T1, which the model needs" in said and "may lack T2, FLAIR" in said
    assert "no channel at all" in str(missing.problem_without(CHANNELS, (0, 1, 2, 3)))


def test_of_modalities_that_exclude_each_other_a_case_has_one() -> None:
    one = MissingChannels(dict.fromkeys(CHANNELS, 1.0), uniform=1.0, exclusive=True)
    assert {*lost_of(one)} == {*lost_of(one, (0, 1, 3))} == {()}
    assert one.problem_without(CHANNELS, (0, 1, 3)) is None
    assert "give one of T1, T1ce, T2, FLAIR" in str(one.problem_without(CHANNELS, (0, 1, 2, 3)))
    for absent, there in (((), "T1, T1ce, T2, FLAIR"), ((0, 3), "T1ce, T2")):
        assert f"has {there}, but the model takes one of them" in str(one.problem_without(CHANNELS, absent))
    assert one.combinations(CHANNELS, [(1, 2, 3), (0, 2, 3)])[-2:] == [(0, 2, 3), (1, 2, 3)]


@pytest.mark.parametrize("value", [{"rates": {}}, {"rates": {"T1": 1.5}}, {"rates": {"T1": 0.5}, "uniform": -1}])
def test_impossible_shares_are_refused(value: dict[str, object]) -> None:
    with pytest.raises(RecordError, match="must"):
        from_json(MissingChannels, value)
    assert from_json(MissingChannels, to_json(MissingChannels({"T1": 0.5}))) == MissingChannels({"T1": 0.5})
