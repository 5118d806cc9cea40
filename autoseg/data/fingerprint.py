"""What was measured on a dataset: the only thing, besides the labels, that planning looks at."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from ..alignment.record import Registration
from ..core.bounds import LARGEST_SIZE, bounded
from ..core.geometry import LARGEST_SPACING, SMALLEST_SPACING

LARGE_VARIATION = 0.15
"""Slow variation of brightness above which a bias field is likely to be worth correcting."""
COLOURS = frozenset(("rgb_to_0_1", "r", "g", "b", "red", "green", "blue"))
QUANTITATIVE = COLOURS | {"ct", "pet", "suv", "adc", "nonorm", "none", "rescale_to_0_1"}


def is_quantitative(channel: str) -> bool:
    """Whether the name of a channel says that it has a unit or is a colour, and so no bias field of a coil."""
    return channel.casefold() in QUANTITATIVE


def is_colour(channel: str) -> bool:
    """Whether the name of a channel says that it is one of a picture's colours."""
    return channel.casefold() in COLOURS


@dataclass(frozen=True)
class ValueStatistics:
    """Values of one channel within one region of a case, by a regular sample of its voxels."""

    mean: float
    std: float
    low: float
    """The 1st percentile."""
    median: float
    high: float
    """The 99th percentile."""


@dataclass(frozen=True)
class ChannelGrid:
    """Where a channel lies in its file, if that is another grid than its case's (axes (z, y, x))."""

    shape: tuple[int, int, int]
    """Voxels."""
    spacing: tuple[float, float, float]
    """Millimetres."""
    orientation: str | None
    """As in ``CaseFingerprint``."""
    covers: float
    """Share of the case's field of view in which the channel has voxels, 0 to 1."""

    def __post_init__(self) -> None:
        bounded(self, "shape", least=1, most=LARGEST_SIZE)
        bounded(self, "spacing", least=SMALLEST_SPACING, most=LARGEST_SPACING)
        bounded(self, "covers", least=0, most=1)


@dataclass(frozen=True)
class FusionQuality:
    """How much one picture of all channels of a case shows of each (``autoseg.inspection.fusion_quality``)."""

    spatial_frequency: float
    """Grey levels of 256, like what follows."""
    average_gradient: float
    information: tuple[float | None, ...]
    """Per channel, its mutual information with that picture, in bits; None for one that the case lacks."""


@dataclass(frozen=True)
class ChannelFingerprint:
    """One channel of one case."""

    minimum: float
    maximum: float
    low: float
    """The 1st percentile, of a regular sample of all voxels like what follows."""
    median: float
    high: float
    """The 99th percentile."""
    distinct: int
    """Different values in the sample."""
    voxels: str
    """Equal for two channels with the same voxels, whatever their files are."""
    landmarks: tuple[float, ...] = ()
    """Percentiles of a regular sample of the nonzero voxels: ``histogram.PERCENTILES``; empty: not known, or none."""
    bright_landmarks: tuple[float, ...] = ()
    """The same of voxels above the mean."""
    variation: float | None = None
    """How far brightness varies slowly from place to place, as a share of it; None: not measured."""
    modality: str | None = None
    """What its values look like (``guess_modality``) where its name does not say, or says otherwise; None: like none of
    those that are known, or not looked at."""
    foreground: ValueStatistics | None = None
    """Of all labels together; None: there is no such voxel, or it was not measured, which of many cases only about 12
    are, like what follows."""
    background: ValueStatistics | None = None
    nonzero: ValueStatistics | None = None
    """Where any channel of the case is not 0."""
    grid: ChannelGrid | None = None
    """None: that of its case."""
    information: tuple[float | None, ...] = ()
    """Its normalised mutual information with each channel of the case (1: none, 2: each follows from the other), by
    headers or registration; None for itself and where nothing was measured; empty: not for any."""


@dataclass(frozen=True)
class CaseFingerprint:
    """One case, as it lies in its file (axes (z, y, x), before any transposition)."""

    shape: tuple[int, int, int]
    """Voxels."""
    spacing: tuple[float, float, float]
    """Millimetres."""
    cropped_shape: tuple[int, int, int]
    """Voxels of the box around all nonzero voxels."""
    cropped_fraction: float
    """Voxels of that box divided by voxels of the image."""
    content: str
    """SHA-256 over the case's files: tells whether anything changed."""
    left_right: int | None = None
    """The axis that runs along the patient's left-right, or closest to it; None: not known."""
    labels: tuple[int, ...] | None = None
    """Indices, from 1 on, of the labels that the case has, of masks which they are; None: not known."""
    orientation: str | None = None
    """Where x, y and z of its arrays point to in the patient, ``LPS`` for example; None: 2-D, or not known."""
    channels: tuple[ChannelFingerprint | None, ...] = ()
    """None for a channel that the case lacks; empty: not known."""
    registrations: tuple[Registration | None, ...] = ()
    """Per channel, how it was registered to the reference; empty: that was not asked for."""
    shifts: tuple[float | None, ...] = ()
    """Per channel, the mm by which a quick registration would move it; None: none that helps was found. Empty: not
    measured, which only a few cases are."""
    fusion_quality: FusionQuality | None = None
    """None: not measured, which only a few cases of several channels are."""

    def __post_init__(self) -> None:
        bounded(self, "shape", "cropped_shape", least=1, most=LARGEST_SIZE)
        bounded(self, "spacing", least=SMALLEST_SPACING, most=LARGEST_SPACING)
        bounded(self, "cropped_fraction", above=0, most=1)
        bounded(self, "left_right", least=0, most=2)
        bounded(self, "labels", least=1)

    @property
    def absent(self) -> tuple[int, ...]:
        """Channels that the case lacks, counted from 0."""
        return tuple(number for number, channel in enumerate(self.channels) if channel is None)


@dataclass(frozen=True)
class Structure:
    """Where the voxels of one label lie, over all cases that have it: lengths as shares of the box around all nonzero
    voxels, 0 at its first edge and 1 at its last, axes as in the files of the usual orientation."""

    cases: int
    """That have the label."""
    share: float
    """Of the voxels of that box."""
    centre: tuple[float, float, float]
    covariance: tuple[float, float, float, float, float, float]
    """zz, yy, xx, zy, zx, yx: within the cases and between them."""

    def __post_init__(self) -> None:
        bounded(self, "cases", least=1)
        bounded(self, "share", least=0, most=1)
        bounded(self, "centre", "covariance", least=-1, most=2)


@dataclass(frozen=True)
class Intensities:
    """Statistics of one channel over the foreground voxels of all training cases (ignored voxels left out)."""

    mean: float
    median: float
    std: float
    min: float
    max: float
    percentile_00_5: float
    percentile_99_5: float


@dataclass(frozen=True)
class Fingerprint:
    """One dataset."""

    cases: dict[str, CaseFingerprint]
    intensities: tuple[Intensities, ...]
    """One per channel."""
    structures: tuple[Structure | None, ...] = ()
    """One per label index from 1 on, or per mask; None for one that no case has; empty: not measured."""

    @property
    def orientation(self) -> str | None:
        """The usual one: that of the most cases."""
        return usual_orientation(case.orientation for case in self.cases.values())

    def variation(self, channel: int) -> tuple[float, int] | None:
        """The median of the slow variation of a channel, and of how many cases; None where it was not measured."""
        channels = [case.channels[channel] for case in self.cases.values() if channel < len(case.channels)]
        found = [each.variation for each in channels if each is not None and each.variation is not None]
        return (statistics.median(found), len(found)) if found else None

    def large_variation(self, channel: int) -> str | None:
        """Said of a channel whose brightness varies slowly by much, after its subject; None where it does not."""
        measured = self.variation(channel)
        if measured is None or measured[0] < LARGE_VARIATION:
            return None
        share, cases = measured
        return (
            f"varies slowly by {share:.0%} from place to place (median of {cases} cases, limit {LARGE_VARIATION:.0%}), "
            "as a bias field or uneven anatomy makes it"
        )

    @property
    def shapes(self) -> list[tuple[int, int, int]]:
        """Cropped shapes, in the order of the cases."""
        return [case.cropped_shape for case in self.cases.values()]

    @property
    def spacings(self) -> list[tuple[float, float, float]]:
        return [case.spacing for case in self.cases.values()]


def usual_orientation(orientations: Iterable[str | None]) -> str | None:
    """The most frequent one; None where none is known."""
    counts = Counter(each for each in orientations if each is not None)
    return max(counts, key=lambda each: (counts[each], each), default=None)
