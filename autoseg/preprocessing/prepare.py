"""One case from its file's grid and units to the network's.

Order (Isensee et al. 2021): transpose, crop to nonzero, normalise, resample, sample class locations. Normalising comes
before resampling because interpolation would blur the border of the nonzero region that masked statistics need. Where
the plan has filters, they come first of all: see ``filtering.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from ..configuration import Configuration
from ..core.components import without_holes
from ..core.geometry import Geometry, Image, bounding_slices, nonzero_box
from ..core.labels import each_mask
from ..errors import DatasetError
from ..task import Task
from .estimates import NOT_KEPT, Estimates
from .filtering import filtered
from .locations import Locations, class_locations
from .sizes import refuse_impossible
from .spatial import SpatialRecord, spatial_record, transpose


@dataclass(frozen=True)
class PreparedCase:
    """What the network sees of one case."""

    image: np.ndarray
    """float32, (channels, z, y, x), on the network's grid: all of a labelled case, else those that the network sees."""
    labels: np.ndarray | None
    """Label indices, uint8 or uint16, (z, y, x); None for a case to be predicted."""
    record: SpatialRecord
    """How it got there."""
    geometry: Geometry
    """The file's grid."""
    foreground: Locations | None
    """Where its labels are; None for a case to be predicted."""
    previous: PreparedCase | None = None
    """In a cascade, a case to be predicted as the earlier stage sees it."""
    absent: tuple[int, ...] = ()
    """Channels that the case lacks, counted from 0: they are 0 everywhere."""
    given: Mapping[str, Any] = field(default_factory=dict)
    """For a case to be predicted, what the caller gave for further inputs of the network, by their names."""


def prepare(image: Image, labels: np.ndarray | None, task: Task, estimates: Estimates = NOT_KEPT) -> PreparedCase:
    """Brings ``image`` and the user's ``labels`` (z, y, x) to the network's grid.

    A labelled case is prepared with all channels, which configurations share, any other with those that the network
    sees. All of them decide where it is cropped. ``estimates`` may keep what filters find slowly; the result is the
    same.

    Raises DatasetError when channels, shapes or dimensions do not fit, a label value is unknown, or the image would be
    too large for this machine; before anything is allocated for it.
    """
    _check(image, labels, task)
    _refuse_flat(image.geometry, task)
    configuration, transposed = task.configuration, transpose(task, image.geometry)
    image = filtered(image, configuration, estimates)
    resampler = configuration.resampler
    array = transposed.apply(image.array, resampler.resample_image)
    box = nonzero_box(array)
    shape, spacing = image.geometry.shape, image.geometry.spacing
    record = spatial_record(shape, spacing, transposed.order, box, configuration.spacing, transposed.reversed)
    before, resampling = record.split()
    refuse_impossible(resampling, len(array), labels is not None)
    inside = (slice(None), *box.slices)
    cropped = array[inside]
    indices = None if labels is None else task.labels.encode(before.apply(labels, resampler.resample_labels))
    masked = any(normalizer.mask for normalizer in configuration.normalizers)
    resized = resampling.shape != resampling.new_shape
    outside = _outside(cropped, indices) if masked or (resized and _touches_zero(cropped, indices)) else None
    wanted = task.seen if labels is None else range(len(array))
    normalised = _normalised(cropped, wanted, None if outside is None else ~outside, configuration, image.absent)
    resampled = np.ascontiguousarray(resampling.apply(normalised, resampler.resample_image))
    foreground = None
    if indices is not None:
        to_grid = partial(
            _resampled, outside=outside, resample=partial(resampling.apply, method=resampler.resample_labels)
        )
        indices = each_mask(indices, task.labels, to_grid)
        foreground = class_locations(indices, task.labels)
    return PreparedCase(resampled, indices, record, image.geometry, foreground, absent=image.absent)


def _normalised(
    array: np.ndarray,
    wanted: Sequence[int],
    mask: np.ndarray | None,
    configuration: Configuration,
    absent: Collection[int],
) -> np.ndarray:
    """The channels that are ``wanted``. Those that are absent are 0, about what others are on average."""
    normalised = np.zeros((len(wanted), *array.shape[1:]), np.float32)
    for target, number in zip(normalised, wanted):
        if number not in absent:
            target[...] = configuration.normalizers[number].apply(array[number], mask)
    return normalised


def _resampled(
    indices: np.ndarray, outside: np.ndarray | None, resample: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Label indices on the network's grid, where "outside" competes as a label of its own, as in nnU-Net v2 2.8.1.

    Between it, background and a label, the label wins with a third of a voxel.
    """
    if outside is None:
        return np.ascontiguousarray(resample(indices))
    mark = np.iinfo(indices.dtype).max  # no label has this index: see Labels.encode
    resampled = np.ascontiguousarray(resample(np.where(outside, mark, indices)))
    resampled[resampled == mark] = 0
    return resampled


def _outside(array: np.ndarray, indices: np.ndarray | None) -> np.ndarray:
    """Background around everything that is nonzero in any channel; holes in it are inside.

    So are labelled voxels, as in nnU-Net v2 2.8.1. In prediction nobody knows them: it is for the few that annotators
    draw beyond the edge of a brain mask, say.
    """
    outside = ~without_holes((array != 0).any(axis=0))
    if indices is not None:
        outside &= indices == 0
    return outside


def _touches_zero(array: np.ndarray, indices: np.ndarray | None) -> bool:
    """Whether a labelled voxel may lie beside one that is zero in all channels: only there "outside" matters."""
    box = None if indices is None else bounding_slices(indices)
    if box is None:
        return False
    beside = (slice(None), *(slice(max(0, along.start - 1), along.stop + 1) for along in box))
    return bool((array[beside] == 0).all(axis=0).any())


def _refuse_flat(geometry: Geometry, task: Task) -> None:
    """Raises DatasetError for a 2-D image where the network sees volumes, or slices that a single one does not have."""
    across, dimensions = task.axis_order[0], task.configuration.dimensions
    if geometry.dimensions == 2 and (dimensions == 3 or across != 0):
        sees = "volumes" if dimensions == 3 else f"slices of volumes across {'zyx'[across]}"
        raise DatasetError(
            f"the image is 2-D, but the network sees {sees}: give the whole volume, or train on images like this one"
        )


def _check(image: Image, labels: np.ndarray | None, task: Task) -> None:
    if len(image.array) != len(task.channels):
        raise DatasetError(
            f"the image has {len(image.array)} channels, the plan expects {len(task.channels)}: "
            f"{', '.join(task.channels)}; give one per name, in this order"
        )
    if labels is not None and labels.shape != image.array.shape[1:]:
        raise DatasetError(
            f"the label map has {labels.shape} voxels (z, y, x), the image {image.array.shape[1:]}; "
            "both must lie on the same grid"
        )
