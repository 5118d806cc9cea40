"""What was measured of each channel of a dataset, as a table: medians over the cases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from ..alignment.record import Alignment
from ..core.names import short
from ..data.fingerprint import (
    CaseFingerprint,
    ChannelFingerprint,
    Fingerprint,
    ValueStatistics,
    usual_orientation,
)
from .modalities import modality_told

WIDTH = 100
LONGEST_NAME = 20
NOTHING = "-"


@dataclass(frozen=True)
class _Channel:
    """One channel, in the cases that have it."""

    number: int
    name: str
    reference: int
    cases: tuple[CaseFingerprint, ...]
    all_cases: int

    @property
    def found(self) -> list[ChannelFingerprint]:
        return [each for case in self.cases if (each := case.channels[self.number]) is not None]

    @property
    def grids(self) -> Iterator[tuple[tuple[int, ...], tuple[float, ...], str | None]]:
        """Shape, spacing and orientation in each case; of 2-D images without the slice."""
        for case, channel in zip(self.cases, self.found):
            lies = channel.grid or case
            skipped = 1 if lies.shape[0] == 1 and lies.orientation is None else 0
            yield lies.shape[skipped:], lies.spacing[skipped:], lies.orientation


def channel_table(fingerprint: Fingerprint, dataset: str, names: Sequence[str], alignment: Alignment | None) -> str:
    """Of the channels ``names`` of a dataset: a column each, several tables where they do not fit beside each other; at
    most ``WIDTH`` columns wide.

    Rows of which nothing was measured are left out. Empty where no channel was measured at all.
    """
    reference = 0 if alignment is None else alignment.reference
    count = len(names)
    known = [case for case in fingerprint.cases.values() if len(case.channels) == count]
    channels = [
        _Channel(number, name, reference, tuple(case for case in known if case.channels[number]), len(known))
        for number, name in enumerate(names)
    ]
    if not known:
        return ""
    columns = [_cells(channel, short(names[reference], LONGEST_NAME)) for channel in channels]
    labels = [label for label in columns[0] if any(cells[label] != NOTHING for cells in columns)]
    of_cases = f"medians of {len(known)} cases" if len(known) > 1 else "1 case"
    lines = [f"channels of {short(dataset, 24)}: {of_cases}, lengths: third, second, first axis"]
    first = max(map(len, labels))
    for part in _parts([[cells[label] for label in labels] for cells in columns], WIDTH - first):
        widths = [max(map(len, column)) for column in part]
        for label, *cells in zip(labels, *part):
            row = (f"{cell:<{width}}" for cell, width in zip(cells, widths))
            lines.append("  ".join([f"{label:<{first}}", *row]).rstrip())
    return "\n".join([*lines, *_fused(known)])


def _parts(columns: Sequence[list[str]], room: int) -> Iterator[list[list[str]]]:
    """As many columns at a time as fit beside each other, at least one."""
    part: list[list[str]] = []
    taken = 0
    for column in columns:
        width = 2 + max(map(len, column))
        if part and taken + width > room:
            yield part
            part, taken = [], 0
        part.append(column)
        taken += width
    yield part


def _cells(channel: _Channel, reference: str) -> dict[str, str]:
    """Label of each row to what stands there."""
    found, grids = channel.found, [*channel.grids]
    fields = [tuple(size * step for size, step in zip(shape, spacing)) for shape, spacing, _ in grids]
    cells = {
        "channel": f"{channel.number} {short(channel.name, LONGEST_NAME)}",
        "modality": modality_told(channel.name, found),
        "present in": f"{len(found)} of {channel.all_cases} cases",
        "voxels": _lengths([shape for shape, _, _ in grids]),
        "spacing, mm": _lengths([spacing for _, spacing, _ in grids]),
        "field of view, mm": _lengths(fields),
        "orientation": usual_orientation(each for _, _, each in grids) or NOTHING,
        "all voxels: 1, 50, 99 %": _middles([(each.low, each.median, each.high) for each in found], ", "),
    }
    regions = {"foreground": "foreground", "background": "background", "not 0": "nonzero"}
    for title, region in regions.items():
        there: list[ValueStatistics] = [value for each in found if (value := getattr(each, region)) is not None]
        cells[f"{title}: mean (std)"] = _mean_and_std(there)
        if region != "nonzero":
            cells[f"{title}: 1, 50, 99 %"] = _middles([(each.low, each.median, each.high) for each in there], ", ")
    varies = [each.variation for each in found if each.variation is not None]
    cells["brightness varies by"] = f"{median(varies):.0%}" if varies else NOTHING
    return cells | _beside_reference(channel, reference)


def _beside_reference(channel: _Channel, reference: str) -> dict[str, str]:
    """How the channel lies to the reference, and what both share."""
    other, compared = channel.reference, [each for each in channel.found if each.information]
    shared = [value for each in compared if (value := each.information[other]) is not None]
    covers = [each.grid.covers if each.grid else 1.0 for each in compared]
    fused = [case.fusion_quality.information[channel.number] for case in channel.cases if case.fusion_quality]
    seen = [value for value in fused if value is not None]
    itself = channel.number == other
    return {
        f"NMI with {reference} (1 to 2)": f"{median(shared):.3f}" if shared else NOTHING,
        f"covers {reference}": f"{median(covers):.0%} of its view" if covers and not itself else NOTHING,
        f"off {reference}, mm": NOTHING if itself else _shift(channel),
        "bits in the fused picture": f"{median(seen):.2f}" if seen else NOTHING,
    }


def _shift(channel: _Channel) -> str:
    """What registering found: of all cases where that was asked for, otherwise of the few that were looked at."""
    registered = [each for case in channel.cases if case.registrations and (each := case.registrations[channel.number])]
    moved = [each.displacement for each in registered if each.used]
    looked = len(registered)
    if not registered:
        shifts = [case.shifts[channel.number] for case in channel.cases if case.shifts]
        moved, looked = [shift for shift in shifts if shift is not None], len(shifts)
    if not moved:
        return f"none found in {looked}" if looked else NOTHING
    return f"{median(moved):.1f} (in {len(moved)} of {looked})"


def _fused(cases: Sequence[CaseFingerprint]) -> list[str]:
    """What the picture of all channels together is like."""
    found = [case.fusion_quality for case in cases if case.fusion_quality]
    if not found:
        return []
    frequency = median(each.spatial_frequency for each in found)
    gradient = median(each.average_gradient for each in found)
    return [
        f"fused picture (mean of channels, 256 grey levels): spatial frequency {frequency:.2f}, average gradient "
        f"{gradient:.2f}"
    ]


def _middles(rows: Sequence[Sequence[float]], between: str) -> str:
    """The medians of columns; of rows of several lengths, of those that are longest."""
    if not rows:
        return NOTHING
    longest = max(map(len, rows))
    return between.join(_number(median(column)) for column in zip(*(row for row in rows if len(row) == longest)))


def _lengths(rows: Sequence[Sequence[float]]) -> str:
    return _middles(rows, " x ")


def _mean_and_std(regions: Sequence[ValueStatistics]) -> str:
    if not regions:
        return NOTHING
    return f"{_number(median(each.mean for each in regions))} ({_number(median(each.std for each in regions))})"


def _number(value: float) -> str:
    """Three digits, and whole numbers as long as they are short."""
    return f"{value:.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.3g}"
