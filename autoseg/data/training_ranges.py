"""What the training cases were like, in ranges that name nobody: a new case that lies outside is told.

They go into a bundle. Ranges are from the least to the largest of all training cases. Lengths and intensities may lie
beyond them a little (``SLACK``, ``WIDTHS``) before a case is said to be unlike: with few cases ranges are narrow.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..core.bounds import bounded
from ..core.geometry import PATIENT_AXES, is_orientation
from ..core.labels import Labels, names_of
from .fingerprint import ChannelFingerprint, Fingerprint

SLACK = 0.1  # of a length
WIDTHS = 0.25  # of a range of intensities, and at least the next
SPREAD = 0.1  # of the span of all intensities that the channel has in the training
PATIENT = ("left-right", "front-back", "feet-head")  # names of ``PATIENT_AXES``
FILE = ("x", "y", "z")
PERCENTILES = ("1st percentile", "median", "99th percentile")


@dataclass(frozen=True)
class Range:
    """Both ends belong to it."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"a range from {self.low:g} to {self.high:g} holds nothing")

    @classmethod
    def of(cls, values: Iterable[float]) -> Range:
        found = list(values)
        return cls(min(found), max(found))

    def __str__(self) -> str:
        low, high = f"{self.low:.4g}", f"{self.high:.4g}"
        return low if low == high else f"{low} to {high}"


@dataclass(frozen=True)
class TrainingRanges:
    """Of all cases of a dataset."""

    cases: int
    spacing: dict[str, Range]
    """mm along ``PATIENT``, or along ``FILE`` where the orientation of a case is not known."""
    extent: dict[str, Range]
    """The field of view, mm, likewise."""
    orientations: tuple[str, ...]
    """All that occur, ``LPS`` for example; empty: not known of every case."""
    intensities: tuple[tuple[Range, Range, Range] | None, ...]
    """Per channel, of ``PERCENTILES``; None: no case has it. Empty: not measured."""
    absent: tuple[int, ...] = ()
    """Channels that some case lacks, counted from 0."""
    labels: tuple[str, ...] = ()
    """Those that every case has."""

    def __post_init__(self) -> None:
        bounded(self, "cases", least=1)
        bounded(self, "absent", least=0)
        if not all(map(is_orientation, self.orientations)):
            raise ValueError("orientations must be such as LPS or RAS")


class Unlike(NamedTuple):
    """What is unlike the training data about a case."""

    what: str
    found: str
    training: str


def training_ranges(fingerprint: Fingerprint, channels: int, labels: Labels) -> TrainingRanges | None:
    """None where there is no case."""
    cases = list(fingerprint.cases.values())
    if not cases:
        return None
    along = [_along(case.orientation, case.shape, case.spacing) for case in cases]
    names = set(along[0]) if all(set(each) == set(along[0]) for each in along) else set()
    known = all(case.channels for case in cases)
    held = [set(names_of(labels, case.labels or ())) for case in cases]
    return TrainingRanges(
        len(cases),
        {name: Range.of(each[name][0] for each in along) for name in sorted(names)},
        {name: Range.of(each[name][1] for each in along) for name in sorted(names)},
        tuple(sorted({case.orientation for case in cases if case.orientation})) if names else (),
        tuple(_intensities([case.channels[number] for case in cases]) for number in range(channels)) if known else (),
        tuple(sorted({number for case in cases for number in case.absent})),
        tuple(name for name in labels.foreground if all(name in each for each in held)),
    )


def unlike(
    training: TrainingRanges,
    orientation: str | None,
    shape: Sequence[int],
    spacing: Sequence[float],
    channels: Sequence[ChannelFingerprint | None],
    names: Sequence[str],
) -> list[Unlike]:
    """What is told of a case; ``channels`` are None where it lacks them, ``names`` are theirs."""
    found, along = [], _along(orientation, shape, spacing)
    kinds = ("voxel spacing", training.spacing, 0), ("field of view", training.extent, 1)
    for what, ranges, place in kinds:
        for name, expected in ranges.items():
            value = along[name][place] if name in along else None
            if value is not None and not expected.low * (1 - SLACK) <= value <= expected.high * (1 + SLACK):
                found.append(Unlike(f"{what} {name}", f"{value:.4g} mm", f"{expected} mm"))
    if training.orientations and orientation not in (None, *training.orientations):
        found.append(Unlike("orientation", str(orientation), ", ".join(training.orientations)))
    for number, (name, channel) in enumerate(zip(names, channels)):
        if channel is None and number not in training.absent:
            found.append(Unlike(f"channel {name}", "missing", "in every case"))
        elif channel is not None and number < len(training.intensities):
            found += _unlike_intensities(name, channel, training.intensities[number])
    return found


def _unlike_intensities(
    name: str, channel: ChannelFingerprint, expected: tuple[Range, Range, Range] | None
) -> list[Unlike]:
    if expected is None:
        return []
    spread, found = expected[2].high - expected[0].low, []
    values = (channel.low, channel.median, channel.high)
    for percentile, value, of_cases in zip(PERCENTILES, values, expected):
        slack = max(WIDTHS * (of_cases.high - of_cases.low), SPREAD * spread)
        if not of_cases.low - slack <= value <= of_cases.high + slack:
            found.append(Unlike(f"intensities of {name}, {percentile}", f"{value:.4g}", str(of_cases)))
    return found


def _intensities(channels: Sequence[ChannelFingerprint | None]) -> tuple[Range, Range, Range] | None:
    there = [channel for channel in channels if channel is not None]
    if not there:
        return None
    low, median, high = zip(*((channel.low, channel.median, channel.high) for channel in there))
    return Range.of(low), Range.of(median), Range.of(high)


def _along(orientation: str | None, shape: Sequence[int], spacing: Sequence[float]) -> dict[str, tuple[float, float]]:
    """Axis to spacing and field of view in mm; (z, y, x) come in. The one slice of a picture has no thickness."""
    lengths = [(step, step * size) for size, step in zip(shape, spacing)][::-1]
    if orientation is None:
        return dict(zip(FILE[: 2 if shape[0] == 1 else 3], lengths))
    places = [next(n for n, pair in enumerate(PATIENT_AXES) if letter in pair) for letter in orientation]
    return {PATIENT[place]: length for place, length in zip(places, lengths)}
