"""Which channel a user means, and channels that are volumes of files: each has one of its own."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from autoseg.core.channels import ChannelSource, channel_number, refuse_contradictory
from autoseg.errors import UsageError

NAMES = st.lists(st.sampled_from(["T1", "t1", "T2", "FLAIR", "flair", "0", "1", "2", "CT", "Straße"]), min_size=1)


@given(NAMES, st.data())
def test_a_name_that_one_channel_has_means_that_one(channels: list[str], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(channels))
    assume(channels.count(name) == 1)
    assert channel_number(name, channels, "--flag") == channels.index(name)


@given(NAMES, st.data())
def test_upper_and_lower_case_matter_only_where_they_must(channels: list[str], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(channels))
    alike = [number for number, channel in enumerate(channels) if channel.casefold() == name.casefold()]
    for written in (name.upper(), name.lower(), name.swapcase()):
        if written in channels:
            continue
        if len(alike) == 1:
            assert channel_number(written, channels, "--flag") == alike[0]
        else:
            with pytest.raises(UsageError, match=f"may be any of {len(alike)} channels"):
                channel_number(written, channels, "--flag")


@given(NAMES)
def test_a_number_means_its_channel_unless_another_is_called_so(channels: list[str]) -> None:
    for number in range(len(channels)):
        if str(number) not in channels:
            assert channel_number(str(number), channels, "--flag") == number


@given(NAMES, st.text(max_size=4))
def test_whatever_else_is_written_is_refused_with_all_channels(channels: list[str], name: str) -> None:
    assume(name.casefold() not in {channel.casefold() for channel in channels})
    assume(name not in map(str, range(len(channels))))
    with pytest.raises(UsageError, match=r"^--flag: there is no channel") as refused:
        channel_number(name, channels, "--flag")
    assert all(f"{channel} ({number})" in str(refused.value) for number, channel in enumerate(channels[:5]))


def test_two_channels_of_one_name_are_told_apart_by_their_numbers() -> None:
    with pytest.raises(UsageError, match=r"'MR' may be any of 2 channels; name one of MR \(0\), MR \(1\)"):
        channel_number("MR", ["MR", "MR"], "--reference")
    assert channel_number("1", ["MR", "MR"], "--reference") == 1


def test_sources_that_fit() -> None:
    refuse_contradictory((), 3)
    refuse_contradictory((ChannelSource(1, 0), ChannelSource(1, 2), ChannelSource(0)), 3)


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        ([ChannelSource(0)], "1 entries for 2 channels"),
        ([ChannelSource(0, 1), ChannelSource(0, 1)], "channels 0 and 1 are the same volume"),
        ([ChannelSource(0), ChannelSource(0)], "channels 0 and 1 are the same volume"),
        ([ChannelSource(0), ChannelSource(0, 1)], "say for both which volume"),
        ([ChannelSource(0, 1), ChannelSource(0)], "say for both which volume"),
    ],
)
def test_sources_that_do_not(sources: list[ChannelSource], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        refuse_contradictory(sources, 2)


@pytest.mark.parametrize(("file", "volume"), [(-1, None), (10_000, 0), (0, -1), (0, 10**6)])
def test_numbers_that_no_file_has(file: int, volume: int | None) -> None:
    with pytest.raises(ValueError, match="must be"):
        ChannelSource(file, volume)
