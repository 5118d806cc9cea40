"""2.5-D: a 2-D network that sees each slice with its neighbours, as channels (as FastSurfer, Henschel et al. 2020).

Where slices lie far apart, a 3-D network sees few of them and mixes what hardly belongs together; a 2-D network sees
nothing of what goes on from one slice to the next. Everything but the number of channels is as in ``2d``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..configuration import Configuration
from ..errors import UsageError
from .rules import ANISOTROPY


def with_neighbours(
    flat: Configuration | None, planned: int, wish: int | None, spacing: Sequence[float], depth: float
) -> tuple[dict[str, Configuration], str]:
    """The configuration 2.5d, if there is to be one, and why.

    ``flat`` is 2d, ``planned`` the planner's number of slices and ``wish`` the user's; 1 is none. ``spacing`` and
    ``depth`` (slices) of the median image are in network axes. Raises UsageError for a wish that cannot be fulfilled.
    """
    wished = wish is not None and wish > 1
    if flat is None or depth <= 1:
        lacking = "the images are single slices, they have no neighbours" if flat else "slices are too small for 2d"
        if wished:
            raise UsageError(f"--slices {wish}: {lacking}")
        return {}, f"none, {lacking}"
    slices, why = (wish or 1, "as you asked") if wished else _by_rule(planned, wish, spacing, depth)
    if slices == 1:
        return {}, f"none, {why}"
    how = f"slices: {slices} of each channel, the middle one is predicted; all else as in 2d, whose cases it shares"
    seen = replace(flat, slices=slices, reasons=(how, *flat.reasons))
    return {"2.5d": seen}, f"2.5d with {slices} slices per channel, {why}"


def _by_rule(planned: int, wish: int | None, spacing: Sequence[float], depth: float) -> tuple[int, str]:
    if planned == 1 or wish == 1:
        return 1, "as you asked" if wish else "this planner has them on request only (--slices 3)"
    factor = spacing[0] / max(spacing[1:])
    apart = f"slices lie {factor:.3g} times as far apart as voxels within them"
    if factor <= ANISOTROPY:
        return 1, f"{apart} (needed above {ANISOTROPY:g}): 3-D networks see more"
    if depth < planned:
        return 1, f"the median image has {depth:g} slices, fewer than {planned}"
    return planned, f"since {apart} (limit {ANISOTROPY:g})"
