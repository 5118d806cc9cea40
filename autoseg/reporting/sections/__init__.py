"""One file is one section of a page: ``SECTION``, a ``Part`` that is found by its file.

``blocks`` gets all that the workspace holds and returns what is shown, in order; nothing: the section is left out. What
is missing or damaged it says in a ``Notice``; an error of autoseg that it raises is told in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...core.family import Family
from ...errors import AutosegError
from ..blocks import Block, Notice, Section
from ..source import Source

SECTIONS = Family("autoseg.reporting.sections", "SECTION")


@dataclass(frozen=True)
class Part:
    """A kind of section."""

    order: int
    """Sections with smaller numbers come first."""
    title: str
    blocks: Callable[[Source], Sequence[Block]]
    made_of: Callable[[Source], Sequence[Path]] | None = None
    """Files: as long as none of these changes, a page that is watched shows the same. None: it is made each time."""


@dataclass(frozen=True)
class Made:
    """A section of a page that is watched, and what it was made of."""

    stamps: tuple[tuple[str, int, int], ...]
    """Names, sizes and times of its files."""
    section: Section
    room: tuple[int, int]
    """Characters that its pictures and volumes take, and of these its volumes."""
    damaged: tuple[str, ...]
    """What could not be read for it."""


Kept = dict[str, Made]
"""Sections by name, to be shown again."""


def sections(source: Source, kept: Kept | None = None) -> tuple[Section, ...]:
    """Those that have something to show. What is in ``kept`` and has not changed is taken from there, what is made is
    added to it."""
    parts = {name: SECTIONS.load(name) for name in SECTIONS}
    kept = {} if kept is None else kept
    found = [_section(name, part, source, kept) for name, part in sorted(parts.items(), key=lambda item: item[1].order)]
    return tuple(section for section in found if section.blocks)


def _section(name: str, part: Part, source: Source, kept: Kept) -> Section:
    stamps = None if part.made_of is None else _stamps(part.made_of(source))
    before = kept.get(name)
    if before is not None and before.stamps == stamps:
        source.room -= before.room[0]
        source.room_of_volumes -= before.room[1]
        source.damaged += (text for text in before.damaged if text not in source.damaged)
        return before.section
    room, volumes, damaged = source.room, source.room_of_volumes, len(source.damaged)
    section = Section(name, part.title, _blocks(part, source))
    if stamps is not None:
        taken = room - source.room, volumes - source.room_of_volumes
        kept[name] = Made(stamps, section, taken, tuple(source.damaged[damaged:]))
    return section


def _stamps(files: Sequence[Path]) -> tuple[tuple[str, int, int], ...]:
    found = []
    for path in files:
        try:
            state = path.stat()
        except OSError:  # not there yet
            continue
        found.append((str(path), state.st_size, state.st_mtime_ns))
    return tuple(found)


def _blocks(part: Part, source: Source) -> tuple[Block, ...]:
    try:
        return tuple(part.blocks(source))
    except (AutosegError, OSError) as error:
        return (Notice(source.told(error)),)
