"""Which volume of which of a case's files a channel is, where files hold more than the dataset uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .bounds import bounded

MOST_FILES = MOST_CHANNELS = 10_000  # four digits number them
MOST_VOLUMES = 100_000


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
