"""What is measured of one predicted case: volumes, connected components, and how it differs from the training data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..core.components import components, sizes_of
from ..core.geometry import Image, box_around
from ..core.labels import Labels
from ..data.dataset import Case
from ..data.fingerprint import ChannelFingerprint
from ..data.images import read_case
from ..data.label_maps import files_in, read_label_map
from ..data.training_ranges import Unlike, unlike
from ..errors import AutosegError
from ..inspection.channels import channel_fingerprint
from ..parts.readers import read_header
from .cases import unit_of, voxel_size
from .pictures import shown_channel
from .predictions import PredictionsSource

BYTES_OF_LABELS, BYTES_OF_CHANNEL = 16, 8  # of a voxel: label map, labels, components; values and a copy of them
LARGEST = 3  # components of a label that are described


@dataclass(frozen=True)
class Component:
    """Voxels of one label that touch, at corners at least."""

    volume: float
    """In the unit of the case."""
    diameter_mm: float
    """Between the centres of the two voxels that lie farthest apart."""
    mean: float | None
    """Of the first channel that the case has; None: the image could not be read."""


@dataclass(frozen=True)
class MeasuredLabel:
    """Of one label in one case."""

    volume: float
    """In the unit of the case."""
    components: int
    largest: tuple[Component, ...]


@dataclass(frozen=True)
class MeasuredCase:
    """One case that has a label map."""

    case: Case
    unit: str
    """Of its volumes."""
    labels: dict[str, MeasuredLabel]
    unlike: tuple[Unlike, ...]
    """What about it is unlike the training data."""
    notice: str = ""
    """Why its image could not be looked at."""


def bytes_of(case: Case) -> float:
    """Main memory that ``measure`` takes; 0 where headers cannot be read, which ``measure`` tells."""
    try:
        headers = [read_header(path) for path in case.image_files]
    except (AutosegError, OSError):
        return 0.0
    voxels = max((math.prod(header.geometry.shape) for header in headers), default=0)
    return float(voxels * (BYTES_OF_LABELS + BYTES_OF_CHANNEL * sum(header.channels for header in headers)))


def measure(case: Case, source: PredictionsSource) -> MeasuredCase | str:
    """Or why there is nothing to measure."""
    known = source.record
    try:
        label_map, geometry = read_label_map(
            files_in(source.folder, case.key, known.file_ending, known.labels), known.labels
        )
        indices = known.labels.encode(label_map)
    except (AutosegError, OSError) as error:
        return source.told(error)
    image, notice = _image(case, source, label_map.shape)
    first = None if image is None else image.array[shown_channel(image)]
    measured = dict(_measured(indices, geometry.spacing, first, known.labels))
    found: list[Unlike] = []
    if known.training is not None and image is not None:
        channels = _channels(image, known.channels)
        found = unlike(known.training, geometry.orientation, geometry.shape, geometry.spacing, channels, known.channels)
    if known.training is not None:
        every = f"in each of {known.training.cases} cases"
        missing = [name for name in known.training.labels if name in measured and not measured[name].components]
        found += [Unlike(f"label {name}", "not predicted", every) for name in missing]
    return MeasuredCase(case, unit_of(geometry.spacing), measured, tuple(found), notice)


def _image(case: Case, source: PredictionsSource, shape: tuple[int, ...]) -> tuple[Image | None, str]:
    """The image, or why it cannot be looked at."""
    try:
        image = read_case(case, source.record.alignment)
    except (AutosegError, OSError) as error:
        return None, source.told(error)
    if image.geometry.shape != shape:
        return None, "the image has changed since it was predicted"
    return image, ""


def _channels(image: Image, names: Sequence[str]) -> list[ChannelFingerprint | None]:
    """Of every channel; nothing where the file of a case that has one of them does not say which it is."""
    if len(image.array) != len(names):
        return []
    return [
        None if number in image.absent else channel_fingerprint(np.ascontiguousarray(array), name)
        for number, (name, array) in enumerate(zip(names, image.array))
    ]


def _measured(
    indices: np.ndarray, spacing: Sequence[float], image: np.ndarray | None, labels: Labels
) -> Iterator[tuple[str, MeasuredLabel]]:
    """Of every label in a map of label indices."""
    from scipy.ndimage import find_objects

    place = {value: index for index, value in enumerate(labels.values)}
    boxes = find_objects(indices, max_label=len(place) - 1)
    for name, values in labels.foreground.items():
        numbers = [place[value] for value in values]
        parts = [boxes[number - 1] for number in numbers if number and boxes[number - 1] is not None]
        if not parts:
            yield name, MeasuredLabel(0.0, 0, ())
            continue
        box = box_around(parts)
        belongs = np.zeros(len(place) + 1, bool)
        belongs[numbers] = True
        yield name, _label(belongs[indices[box]], spacing, None if image is None else image[box])


def _label(mask: np.ndarray, spacing: Sequence[float], image: np.ndarray | None) -> MeasuredLabel:
    numbered, size = components(mask), voxel_size(spacing)
    sizes = sizes_of(numbered)[1:]
    order = np.argsort(-sizes, kind="stable")[:LARGEST]
    largest = []
    for number in order.tolist():
        inside = numbered == number + 1
        mean = None if image is None else float(image[inside].mean(dtype=np.float64))
        largest.append(Component(int(sizes[number]) * size, longest_diameter(inside, spacing), mean))
    return MeasuredLabel(int(sizes.sum()) * size, len(sizes), tuple(largest))


def longest_diameter(mask: np.ndarray, spacing: Sequence[float]) -> float:
    """mm between the centres of the two voxels (z, y, x) that lie farthest apart; there must be a voxel.

    Both are corners of the convex hull, and of each row of voxels only the first and the last can be.
    """
    from scipy.spatial.distance import pdist

    z, y = np.nonzero(mask.any(2))
    rows = mask[z, y]
    first, last = rows.argmax(1), rows.shape[1] - 1 - rows[:, ::-1].argmax(1)
    ends = [np.stack((z, y, x), 1) for x in (first, last)]
    points = np.unique(np.concatenate(ends), axis=0) * np.asarray(spacing)
    corners = _corners(points[:, np.ptp(points, 0) > 0])
    return float(pdist(corners).max()) if len(corners) > 1 else 0.0


def _corners(points: np.ndarray) -> np.ndarray:
    """Those of the convex hull of (n, axes)."""
    from scipy.spatial import ConvexHull, QhullError

    if points.shape[1] < 2:
        return np.array([points.min(0), points.max(0)]) if points.size else points
    if len(points) <= points.shape[1] + 1:
        return points
    try:
        return np.asarray(points[ConvexHull(points).vertices])
    except QhullError:  # all in one plane, or on one line: moved a little, they have corners
        return np.asarray(points[ConvexHull(points, qhull_options="QJ").vertices])
