"""How values are spread within regions of a case, and how much its channels tell about each other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from ..alignment.grids import covered, indices_of, inside, places_of
from ..alignment.record import Alignment
from ..alignment.similarity import normalised_mutual_information
from ..core.geometry import Geometry, Image
from ..core.regular import regular, step
from ..data.dataset import Case
from ..data.fingerprint import ChannelFingerprint, ChannelGrid, ValueStatistics
from ..parts.readers import read_header, unlike

LOOKED_AT = 4096  # voxels of each region: their mean is off by a 64th of their standard deviation
COMPARED = 1 << 15  # voxels of a case in which channels are compared, of 4 times as many that may hold nothing
BINS = 32  # with so many voxels: of two channels that tell nothing about each other, NMI is 1.004
FEWEST = BINS**2  # voxels in both channels, below which most of the joint histogram is empty and all look alike
ROUNDING = 1e-5  # of the largest value: resampling leaves a hundredth of it
ALL_PAIRS = 8  # of more channels, each is compared with the reference only

Channels = tuple[ChannelFingerprint | None, ...]


def other_grids(case: Case, alignment: Alignment | None, geometry: Geometry) -> dict[int, Geometry]:
    """By number, where the channels of ``case`` lie whose grid is not ``geometry``, that of the case.

    Raises ImageFileError. Without ``alignment`` there are none, and no header is read.
    """
    if alignment is None:
        return {}
    headers = {str(file): read_header(file).geometry for file in case.image_files}
    grids = {number: headers[source.file] for number, source in enumerate(case.images) if source}
    return {number: grid for number, grid in grids.items() if unlike(geometry, grid)}


def with_regions(
    channels: Channels, array: np.ndarray, labels: np.ndarray, background: int, found: np.ndarray
) -> Channels:
    """``channels`` with what is measured in foreground, background and wherever any channel is not 0.

    ``array`` (channels, z, y, x) holds all voxels, ``labels`` (z, y, x) are ``background`` where there is nothing, and
    ``found`` (channels, n) are values of the foreground.
    """
    values = np.stack([regular(channel.reshape(-1), LOOKED_AT) for channel in array])
    outside = regular(labels.reshape(-1), LOOKED_AT) == background
    nonzero = filled(values)
    return tuple(
        channel
        and replace(
            channel,
            foreground=spread(regular(inner, LOOKED_AT)),
            background=spread(each[outside]),
            nonzero=spread(each[nonzero]),
        )
        for channel, each, inner in zip(channels, values, found)
    )


def filled(values: np.ndarray) -> np.ndarray:
    """Where any of ``values`` (channels, n) is not 0, nor what interpolation beside something makes of 0: bool (n)."""
    sizes = np.abs(values)
    found: np.ndarray = (sizes > ROUNDING * sizes.max(axis=1, keepdims=True, initial=0)).any(axis=0)
    return found


def spread(values: np.ndarray) -> ValueStatistics | None:
    """Of (n); None where there are none."""
    if not values.size:
        return None
    last = values.size - 1
    places = [round(last * share) for share in (0.01, 0.5, 0.99)]
    low, median, high = np.sort(values)[places].tolist()
    exact = values.astype(np.float64)
    mean = float(exact.mean())
    exact -= mean
    return ValueStatistics(mean, math.sqrt(float(exact @ exact) / values.size), low, median, high)


def with_comparisons(channels: Channels, image: Image, grids: Mapping[int, Geometry], reference: int) -> Channels:
    """``channels`` with the grids of those that lie elsewhere (``other_grids``), and with their mutual information.

    Compared are voxels at regular distances where any channel is not 0 and both of a pair have voxels of their own:
    elsewhere all channels are alike, and share nothing but their outline.
    """
    table: list[list[float | None]] = [[None] * len(channels) for _ in channels]
    for first, second, shared in _pairs(channels, image, grids, reference):
        table[first][second] = table[second][first] = shared
    return tuple(
        channel and replace(channel, grid=_grid(grids.get(number), image.geometry), information=tuple(table[number]))
        for number, channel in enumerate(channels)
    )


def _grid(grid: Geometry | None, case: Geometry) -> ChannelGrid | None:
    if grid is None:
        return None
    return ChannelGrid(grid.shape, grid.spacing, grid.orientation, covered(case, grid))


def _pairs(
    channels: Sequence[ChannelFingerprint | None], image: Image, grids: Mapping[int, Geometry], reference: int
) -> Iterator[tuple[int, int, float]]:
    """Of all channels that are there, or of each with the reference where they are many: what they share."""
    flat = image.array.reshape(len(channels), -1)
    places = np.arange(0, flat.shape[1], step(flat.shape[1], 4 * COMPARED))
    there = [number for number, channel in enumerate(channels) if channel is not None]
    places = regular(places[filled(flat[:, places])], COMPARED)
    values, own = {number: flat[number, places] for number in there}, {}
    for number, grid in grids.items():
        indices = np.stack(np.unravel_index(places, image.geometry.shape), axis=1)
        own[number] = inside(indices_of(grid, places_of(image.geometry, indices)), grid.shape)
    for first, second in combinations(there, 2):
        if len(channels) > ALL_PAIRS and reference not in (first, second):
            continue
        both = own.get(first, True) & own.get(second, np.ones(len(places), bool))
        if np.count_nonzero(both) >= FEWEST:
            yield first, second, normalised_mutual_information(values[first][both], values[second][both], BINS)
