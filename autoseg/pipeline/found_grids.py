"""Whether the images and the label map of a case that a converter has found can be a case of a dataset."""

from __future__ import annotations

from ..alignment.grids import covered
from ..core.geometry import Geometry
from ..core.names import short
from ..errors import AutosegError
from ..interop.conversion import FoundCase
from ..parts.readers import resampling, unlike

LABEL = "label"


def grid_problem(case: FoundCase, channels: int) -> tuple[str | None, int]:
    """What is wrong with a case, and on how many grids its channels lie."""
    sources = [*((f"channel {number}", image) for number, image in enumerate(case.images)), (LABEL, case.label)]
    try:
        headers = {what: source.header() for what, source in sources if source is not None}
    except AutosegError as error:
        return f"{shown(case.key)}: {error}", 0
    grids: list[Geometry] = []
    for what, header in headers.items():
        new = all(unlike(grid, header.geometry) for grid in grids)
        if new and grids and (why := _unfit(what, grids[0], header.geometry)):
            return f"{shown(case.key)}: {why}", 0
        if new:
            grids.append(header.geometry)
    for what, header in headers.items():
        if header.channels != (1 if what == LABEL else channels // len(case.images)):
            why = f"{what} holds {header.channels} channels; there should be {channels} in all"
            return f"{shown(case.key)}: {why}", 0
    return None, len(grids)


def _unfit(what: str, first: Geometry, other: Geometry) -> str | None:
    """Why a file cannot lie on a grid of its own; None for volumes in one space, which headers bring onto one grid."""
    apart = "; ".join(unlike(first, other))
    if what == LABEL:
        return (
            f"the label lies on the grid of no channel (of channel 0: {apart}); resample it first, {resampling(True)}"
        )
    if {first.dimensions, other.dimensions} != {3}:
        cure = f"resample it first, {resampling(False)}"
        return f"{what} lies on another grid than channel 0 ({apart}), and only volumes may; {cure}"
    if not covered(first, other):
        return f"{what} has no voxel in common with channel 0 ({apart}); correct the headers"
    return None


def shown(key: str) -> str:
    """The name of a case in a message."""
    return short(key if key.isprintable() else ascii(key))
