"""One file is one section of a page: ``SECTION``, a ``Part`` that is found by its file.

``blocks`` gets all that the workspace holds and returns what is shown, in order; nothing: the section is left out. What
is missing or damaged it says in a ``Notice``; an error of autoseg that it raises is told in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

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


def sections(source: Source) -> tuple[Section, ...]:
    """Those that have something to show."""
    parts = {name: SECTIONS.load(name) for name in SECTIONS}
    found = [
        Section(name, part.title, _blocks(part, source))
        for name, part in sorted(parts.items(), key=lambda item: item[1].order)
    ]
    return tuple(section for section in found if section.blocks)


def _blocks(part: Part, source: Source) -> tuple[Block, ...]:
    try:
        return tuple(part.blocks(source))
    except (AutosegError, OSError) as error:
        return (Notice(source.told(error)),)
