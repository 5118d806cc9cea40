"""Channels: which one a user names, and which volume of which of a case's files each is, where these hold more."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..errors import UsageError
from .bounds import bounded
from .names import short

MOST_FILES = MOST_CHANNELS = 10_000  # four digits number them
MOST_VOLUMES = 100_000


def channel_number(name: str, channels: Sequence[str], where: str) -> int:
    """Which of the ``channels``, counted from 0, is meant by ``name``: a name, or a number from 0.

    A channel that is called just so comes first, then the only one that is called so but for upper and lower case, then
    the number. Raises UsageError, which begins with ``where`` (a flag), for a name of none and a name of several.
    """
    return channel_numbers([name], channels, where)[0]


def channel_numbers(names: Iterable[str], channels: Sequence[str], where: str) -> list[int]:
    """``channel_number`` of many names, for which the channels are gone over once."""
    called: dict[str, list[int]] = defaultdict(list)
    alike: dict[str, list[int]] = defaultdict(list)
    for number, channel in enumerate(channels):
        called[channel].append(number)
        alike[channel.casefold()].append(number)
    numbers = {str(number): [number] for number in range(len(channels))}
    meant = []
    for name in names:
        found = called.get(name) or alike.get(name.casefold()) or numbers.get(name, [])
        if len(found) != 1:
            wrong = f"{short(name)!r} may be any of {len(found)} channels"
            there = short(", ".join(f"{channel} ({number})" for number, channel in enumerate(channels)), 500)
            said = wrong if found else f"there is no channel {short(name)!r}"
            raise UsageError(f"{where}: {said}; name one of {there}, or its number")
        meant += found
    return meant


@dataclass(frozen=True)
class ChannelSource:
    """One channel."""

    file: int
    """Its number: ``CASE_0002`` is 2, and a case that is one file has file 0."""
    volume: int | None = None
    """Of the file: along the fourth axis, or a colour of a picture; counted from 0. None: the file holds only one."""

    def __post_init__(self) -> None:
        bounded(self, "file", least=0, most=MOST_FILES - 1)
        bounded(self, "volume", least=0, most=MOST_VOLUMES)


def channels_of_files(sources: Sequence[ChannelSource], channels: int) -> list[tuple[int, ...]]:
    """The channels that each of a case's files holds, counted from 0: those of one file are missing only together.

    Without ``sources`` each of the ``channels`` is a file.
    """
    held: dict[int, list[int]] = defaultdict(list)
    for number in range(channels):
        held[sources[number].file if sources else number].append(number)
    return [tuple(numbers) for numbers in held.values()]


def refuse_contradictory(sources: Sequence[ChannelSource], channels: int) -> None:
    """Raises ValueError unless each of ``channels`` has a source of its own; none at all are fine, too."""
    if sources and len(sources) != channels:
        raise ValueError(f"channel_sources: {len(sources)} entries for {channels} channels; give one for each")
    first: dict[tuple[int, int | None], int] = {}
    of_file: dict[int, int] = {}
    for number, source in enumerate(sources):
        other = first.setdefault((source.file, source.volume), number)
        if other != number:
            raise ValueError(f"channels {other} and {number} are the same volume of the same file")
        other = of_file.setdefault(source.file, number)
        if other != number and None in (source.volume, sources[other].volume):
            raise ValueError(f"channels {other} and {number} are in one file: say for both which volume they are")
