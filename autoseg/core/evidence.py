"""What labelled cases say of a label without any network: how bright it is, where it lies, how large it is.

Images are (channels, *grid), label maps (*grid), both 2-D or 3-D, with their axes in one order for all cases.
Intensities are ``scaled``. A place is relative to the image: 0 at its beginning, 1 at its end, along each axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, reduce

import numpy as np

CELLS = 24  # of a map of places, along each axis
BINS = 384  # of a histogram of brightness
LOWEST, HIGHEST = -0.25, 1.25  # of scaled intensities; what lies outside counts as these
AIR, BONE = -1000.0, 1000.0  # HU that become 0 and 1
WIDTH = 2.0  # bins over which a histogram is smoothed
LEAK = 0.01  # share of a histogram that is uniform: no intensity is impossible
RARE = 0.005  # of the cases: where a label is seen less often, it is not looked for
SAMPLED = 1 << 20  # voxels of which percentiles are taken
MOST_LABELS = 256  # that are learned, the most frequent ones


def scaled(channel: np.ndarray, hounsfield: bool) -> np.ndarray:
    """Float32 intensities that mean the same in every case.

    HU from -1000 to 1000 become 0 to 1; of other images the 1st to the 99th percentile of the voxels that are not 0.
    """
    if hounsfield:
        low, high = AIR, BONE
    else:
        flat = channel.reshape(-1)
        some = flat[:: max(1, flat.size // SAMPLED)]
        some = some[some != 0]
        low, high = np.percentile(some, (1, 99)).tolist() if some.size else (0.0, 1.0)
    return ((channel - np.float32(low)) / np.float32(max(high - low, 1e-6))).astype(np.float32, copy=False)


def binned(image: np.ndarray) -> np.ndarray:
    """Of each voxel the bin of its scaled intensity, uint16."""
    step = (HIGHEST - LOWEST) / BINS
    return np.clip((np.nan_to_num(image) - LOWEST) / step, 0, BINS - 1).astype(np.uint16)


@dataclass(frozen=True)
class LabelTally:
    """What is counted of one label; tallies of several cases are added."""

    brightness: np.ndarray
    """Voxels (channels, BINS), none of channels that a case lacks."""
    places: np.ndarray
    """Share of each cell (CELLS along each axis) that the label fills, summed over cases."""
    sizes: tuple[float, ...]
    """mm3, or mm2, in each case that has it."""

    def __add__(self, other: LabelTally) -> LabelTally:
        return LabelTally(
            self.brightness + other.brightness, self.places + other.places, tuple(sorted(self.sizes + other.sizes))
        )


Tally = dict[int, LabelTally]
"""Label index to what is counted of it."""


def tally(
    image: np.ndarray, truth: np.ndarray, spacing: Sequence[float], absent: Sequence[int], ignored: int | None
) -> Tally:
    """Of one case: its scaled ``image``, its label indices, and the channels that it lacks."""
    from scipy.ndimage import find_objects

    bins, found = binned(image), {}
    there, inverse = np.unique(truth, return_inverse=True)
    numbered: np.ndarray = inverse.reshape(truth.shape).astype(np.int32) + 1
    for number, (index, box) in enumerate(zip(there.tolist(), find_objects(numbered)), 1):
        if index == ignored:
            continue
        mask = numbered[box] == number
        brightness = np.stack([np.bincount(channel[box][mask], minlength=BINS) for channel in bins]).astype(np.float64)
        brightness[[*absent]] = 0
        places = mask.astype(np.float32)
        for axis, (along, size) in enumerate(zip(box, truth.shape)):
            places = np.moveaxis(np.tensordot(_shares(size)[:, along], places, (1, axis)), 0, axis)
        size = float(np.count_nonzero(mask) * np.prod(spacing))
        found[index] = LabelTally(brightness, places.astype(np.float32), (size,))
    return found


def added(tallies: Sequence[Tally]) -> Tally:
    """Of all cases together."""
    return {
        index: reduce(LabelTally.__add__, [each[index] for each in tallies if index in each])
        for index in sorted({index for each in tallies for index in each})
    }


@dataclass(frozen=True)
class Evidence:
    """What the cases that were tallied say; the background is the first label."""

    indices: tuple[int, ...]
    """Of the labels that occur, ascending."""
    brightness: np.ndarray
    """Probability (labels, channels, BINS) of an intensity, given the label; uniform where nothing is known."""
    places: np.ndarray
    """Probability (labels, cells) of the label, given the place; they sum to 1."""
    sizes: np.ndarray
    """Median (labels,), mm3 or mm2, of the cases that have the label."""

    @classmethod
    def of(cls, tallies: Sequence[Tally]) -> Evidence:
        """Of one tally for each case."""
        from scipy.ndimage import gaussian_filter, gaussian_filter1d

        whole = added(tallies)
        frequent = sorted(whole, key=lambda index: (index != 0, -len(whole[index].sizes)))[:MOST_LABELS]
        indices = tuple(sorted({0, *frequent}))
        some = next(iter(whole.values()))
        nothing = LabelTally(np.zeros_like(some.brightness), np.zeros_like(some.places), (0.0,))
        found = [whole.get(index, nothing) for index in indices]
        smooth = gaussian_filter1d(np.stack([each.brightness for each in found]), WIDTH, axis=-1, mode="nearest")
        total = smooth.sum(-1, keepdims=True)
        uniform = np.full_like(smooth, 1 / BINS)
        known = np.divide(smooth, total, out=uniform.copy(), where=total > 0)
        places = np.stack([gaussian_filter(each.places / len(tallies), 1, mode="nearest") for each in found])
        places[0] = np.maximum(0, 1 - places[1:].sum(0))
        return cls(
            indices,
            ((1 - LEAK) * known + LEAK * uniform).astype(np.float32),
            (places / np.maximum(places.sum(0), 1e-6)).astype(np.float32),
            np.array([np.median(each.sizes) for each in found]),
        )

    def box(self, shape: Sequence[int]) -> tuple[slice, ...]:
        """Where in an image of this shape any label is looked for, and a cell around it."""
        from .geometry import bounding_slices

        looked_for: np.ndarray = self.places[1:].max(0, initial=0) > RARE
        cells = bounding_slices(looked_for)
        if cells is None:
            return tuple(slice(0, size) for size in shape)
        return tuple(
            slice(max(0, (along.start - 1) * size // CELLS), min(size, -(-(along.stop + 1) * size // CELLS)))
            for along, size in zip(cells, shape)
        )

    def telling(self) -> list[int]:
        """Channels, the one first whose intensities say most about the label (mutual information, labels alike)."""
        mean = self.brightness.mean(0)
        gained = (self.brightness * np.log(self.brightness / mean)).sum(-1).mean(0)
        return sorted(range(len(gained)), key=lambda channel: -gained[channel])

    def hints(
        self,
        image: np.ndarray,
        spacing: Sequence[float],
        absent: Sequence[int],
        box: Sequence[slice],
        shape: Sequence[int],
    ) -> Hints:
        """Of the scaled ``image`` that is the ``box`` of an image of this ``shape``, on a grid that may be coarser."""
        bins = binned(image)
        likelihoods = np.ones((len(self.indices), *image.shape[1:]), np.float32)
        for channel, of_voxels in enumerate(bins):
            if channel not in absent:
                likelihoods *= self.brightness[:, channel][:, of_voxels]
                likelihoods /= likelihoods.sum(0)  # small numbers stay numbers, however many channels there are
        places = self.places
        for axis, (along, size, count) in enumerate(zip(box, shape, image.shape[1:]), 1):
            edge = (along.stop - along.start) / count
            centres = (along.start + (np.arange(count) + 0.5) * edge) / size
            places = np.moveaxis(np.tensordot(_weights(centres), places, (1, axis)), 0, axis)
        return Hints(likelihoods, places.astype(np.float32), self.sizes / float(np.prod(spacing)))


@dataclass(frozen=True)
class Hints:
    """What is known of an image before it is segmented; the background is the first label."""

    likelihoods: np.ndarray
    """Of the intensities, given the label: (labels, *grid) float32, which sum to 1."""
    places: np.ndarray
    """Probability (labels, *grid) of the label at this place, whatever the intensities."""
    sizes: np.ndarray
    """Voxels (labels,) that a label is expected to have."""
    given: np.ndarray | None = None
    """Seeds that somebody has set, as ``seeds`` gives them."""

    @cached_property
    def probabilities(self) -> np.ndarray:
        """Of intensity and place together, by Bayes' rule: (labels, *grid), which sum to 1."""
        both = self.likelihoods * self.places
        both += 1e-12
        both /= both.sum(0)
        return both

    def possible(self, label: int) -> np.ndarray:
        """Bool (*grid): where it is looked for."""
        found: np.ndarray = self.places[label] > RARE
        return found

    def seeds(self, share: float, sure: float) -> np.ndarray:
        """Int32 (*grid): number of a label plus 1 where it is surest, 0 where nothing is said.

        Of each label so many voxels as ``share`` of its usual size, those of the highest probability. Of the background
        all whose probability is ``sure``, but at least a tenth of the image. Those that somebody has set come first.
        """
        from scipy.ndimage import gaussian_filter

        if self.given is not None:
            return self.given
        chances = np.stack([gaussian_filter(each, 1) for each in self.probabilities])
        limit = min(sure, float(np.quantile(chances[0], 0.9)))
        found = (chances[0] >= limit).astype(np.int32)
        best = chances[1:].argmax(0) + 1 if len(chances) > 1 else np.zeros(found.shape, np.int64)
        for label in range(1, len(chances)):
            score = np.where((best == label) & self.possible(label), chances[label], 0).reshape(-1)
            count = min(max(1, round(share * float(self.sizes[label]))), int(np.count_nonzero(score)))
            if count:
                found.reshape(-1)[np.argpartition(score, -count)[-count:]] = label + 1
        return found


@dataclass(frozen=True)
class LabelledImage:
    """A training case as a method sees it."""

    image: np.ndarray
    """Scaled (channels, *grid)."""
    spacing: tuple[float, ...]
    """mm along the axes of the grid."""
    truth: np.ndarray
    """Numbers of labels in ``Evidence.indices``, -1 where nothing is annotated."""
    labels: int
    """How many there are, with the background."""
    hints: Hints | None


def _shares(size: int) -> np.ndarray:
    """(CELLS, size): the share of each cell that each of ``size`` voxels fills."""
    edges, voxels = np.linspace(0, size, CELLS + 1), np.arange(size)
    overlap = np.minimum(edges[1:, None], voxels + 1) - np.maximum(edges[:-1, None], voxels)
    return (np.maximum(0, overlap) * (CELLS / size)).astype(np.float32)


def _weights(centres: np.ndarray) -> np.ndarray:
    """(places, CELLS): linear interpolation between the centres of cells; places run from 0 to 1."""
    at = np.clip(centres * CELLS - 0.5, 0, CELLS - 1)
    return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(CELLS))).astype(np.float32)
