"""Channels that are volumes of files: each has one of its own."""

from __future__ import annotations

import pytest

from autoseg.core.channels import ChannelSource, refuse_contradictory


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
