"""Whether a label map that is painted from regions says again which regions each voxel belongs to.

Every value of the labels has its set of regions. When these are painted, each over the ones before it, the last one
decides the value that is written; it must be one with the same set. Otherwise some region is lost, wholly or in part,
in every prediction, however good the network is.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import DatasetError
from .labels import Labels, RegionLabels
from .names import short

Members = frozenset[str]
"""The regions that a value belongs to."""
SHOWN = 8  # values that a message lists


def refuse_lossy(labels: Labels, where: object) -> None:
    """Raises DatasetError, beginning with ``where``, for regions that painting loses, and says what would keep them.

    Labels that exclude each other are always kept. For datasets to be trained: what another program has trained
    predicts as it did there, whatever it loses.
    """
    if not isinstance(labels, RegionLabels):
        return
    lost = _lost(labels)
    if lost is not None:
        painting = _painting(labels)
        how = painting.advice(labels) if isinstance(painting, _Painting) else _more_regions(painting)
        raise DatasetError(f"{where}: {lost}. {how}")


@dataclass(frozen=True)
class _Painting:
    """Regions in the order in which they are painted, and the value of each."""

    names: tuple[str, ...]
    values: tuple[int, ...]

    def advice(self, labels: RegionLabels) -> str:
        order = f'"regions_class_order": {short(str(list(self.values)), 600)}'
        if self.names == tuple(labels.regions):
            return f"Write {order}"
        return f"Name the regions in the order {short(', '.join(self.names), 600)} and write {order}"


def _more_regions(alone: tuple[tuple[int, ...], ...]) -> str:
    each = "; ".join(short(", ".join(map(str, values))) for values in alone[:SHOWN])
    more = f" and {len(alone) - SHOWN} more" if len(alone) > SHOWN else ""
    return (
        "No order of these regions keeps them all, since they overlap in too many ways. Name one more region for each "
        f"of these sets of values: {each}{more}"
    )


def _members(labels: RegionLabels) -> dict[int, Members]:
    """Of every value but ``ignore``."""
    found: dict[int, set[str]] = {value: set() for value in labels.values}
    for name, values in labels.regions.items():
        for value in values:
            found[value].add(name)
    return {value: frozenset(regions) for value, regions in found.items()}


def _lost(labels: RegionLabels) -> str | None:
    """The first thing that painting loses, in words."""
    members, place = _members(labels), {name: index for index, name in enumerate(labels.regions)}
    for name, value in zip(labels.regions, labels.class_order):
        if value not in members:
            return f"regions_class_order writes {value} for {short(name)!r}, which is the value of no region"
    for value, regions in members.items():
        last = max((place[name] for name in regions), default=None)
        written = labels.background if last is None else labels.class_order[last]
        if members[written] != regions:
            return (
                f"regions_class_order {short(str(list(labels.class_order)))} loses regions: what is {_named(regions)} "
                f"(value {value}) is written as {written}, which is {_named(members[written])}"
            )
    return None


def _named(regions: Members) -> str:
    return short(" and ".join(sorted(regions)), 200) or "background"


def _painting(labels: RegionLabels) -> _Painting | tuple[tuple[int, ...], ...]:
    """A way to paint that loses nothing, as near to the user's as can be; else sets of values, each of which needs a
    region more.

    From the last region to the first: the last one decides the value of all its voxels, so they must have one set of
    regions; what it decides is settled, and one of the others is the last of the rest. A region that can be taken can
    also be taken later, so that no choice is wrong.
    """
    members, wished = _members(labels), dict(zip(labels.regions, labels.class_order))
    undecided = {name: {regions for regions in members.values() if name in regions} for name in labels.regions}
    left, painting, alone = list(labels.regions), [], []
    while left:
        name = next((name for name in reversed(left) if len(undecided[name]) <= 1), None)
        if name is None:  # a region more, with the values of one set only, could be painted last
            decided = max((s for name in left for s in undecided[name]), key=lambda s: (len(s), sorted(s)))
            alone.append(tuple(value for value, regions in members.items() if regions == decided))
        else:
            decided = next(iter(undecided[name]), frozenset())
            fitting = [value for value in members if (members[value] == decided if decided else name in members[value])]
            painting.append((name, wished[name] if wished[name] in fitting else min(fitting)))
            left.remove(name)
        for region in decided:
            undecided[region].discard(decided)
    if alone:
        return tuple(alone)
    names, values = zip(*reversed(painting))
    return _Painting(names, values)
