"""Channels: which one a user names, and which volume of which of a case's files each is, where these hold more."""

from __future__ import annotations

from collections.abc import Sequence
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
    alike = [number for number, channel in enumerate(channels) if channel.casefold() == name.casefold()]
    exact = [number for number in alike if channels[number] == name]
    found = exact or alike
    if len(found) == 1:
        return found[0]
    numbers = {str(number): number for number in range(len(channels))}
    if not found and name in numbers:
        return numbers[name]
    wrong = f"{short(name)!r} may be any of {len(found)} channels" if found else f"there is no channel {short(name)!r}"
    there = short(", ".join(f"{channel} ({number})" for number, channel in enumerate(channels)), 500)
    raise UsageError(f"{where}: {wrong}; name one of {there}, or its number")


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
