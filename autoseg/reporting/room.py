"""What fits into a page: pictures of cases and the volumes that are looked through, one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from .blocks import Block, CasePicture, Notice

MOST_PICTURES = 13_000_000  # characters of pictures and volumes in a page, which may have 15 MB
MOST_VOLUMES = 7_500_000  # of these, of volumes to be looked through
TOLD = 3  # messages of cases that cannot be drawn


class Room(Protocol):
    """Mutable: characters that are left."""

    room: int
    """For pictures and volumes together."""
    room_of_volumes: int


def fitting(results: Iterable[CasePicture | str], left: Room) -> tuple[list[CasePicture], list[Block]]:
    """Those there is room for, and notices of the others: of what cannot be drawn, ``results`` hold why."""
    drawn, wrong, left_out, wants_volumes = list[CasePicture](), list[str](), 0, left.room_of_volumes > 0
    for result in results:
        if isinstance(result, str):
            wrong.append(result)
        elif (taken := characters(result)) > left.room:
            left_out += 1
        else:
            left.room -= taken
            drawn.append(_with_volume(result, left))
    notices = [Notice(f"Not drawn: {some(wrong)}")] if wrong else []
    if wants_volumes and (flat := sum(case.volume is None for case in drawn)):
        told = f"{flat} of {len(drawn)} cases cannot be looked through: the page would be too large."
        notices.append(Notice(told))
    if left_out:
        notices.append(Notice(f"{left_out} pictures are left out, since the page would be too large."))
    return drawn, list[Block](notices)


def _with_volume(drawn: CasePicture, left: Room) -> CasePicture:
    """Without its volume where there is no room for it."""
    taken = drawn.volume.characters if drawn.volume else 0
    if taken > min(left.room, left.room_of_volumes):
        return replace(drawn, volume=None)
    left.room -= taken
    left.room_of_volumes -= taken
    return drawn


def some(wrong: Sequence[str]) -> str:
    """The first messages, and how many more there are."""
    more = f" (and {len(wrong) - TOLD} more)" if len(wrong) > TOLD else ""
    return f"{'; '.join(wrong[:TOLD])}{more}"


def characters(drawn: CasePicture) -> int:
    """Of the slices of a case in the page."""
    texts = [(view.image, view.reference, view.outline, view.prediction, view.errors) for view in drawn.views]
    return sum(len(text) for view in texts for text in view if text)
