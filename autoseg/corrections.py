"""What is corrected in a label map after it was decided: the postprocessing of a model, step by step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .core.family import Family
from .core.geometry import Geometry
from .core.labels import Labels, RegionLabels
from .core.masks import MaskLabels

POSTPROCESSORS = Family("autoseg.parts.postprocessors", "Spec")


@dataclass(frozen=True)
class Correction:
    """One step of the postprocessing."""

    label: str | None
    """A label or region; None: all of them together."""
    method: Any = field(metadata={"family": POSTPROCESSORS})
    clears: bool = False
    """What a region loses leaves the regions around it as well and becomes background: nnU-Net's way."""


@dataclass(frozen=True)
class Change:
    """Some voxels of a label map and what they become."""

    voxels: np.ndarray
    """Positions in the flattened map."""
    values: np.ndarray
    """The user's values, in the type of the map."""

    def apply(self, label_map: np.ndarray) -> None:
        """Changes a C-contiguous label map in place."""
        label_map.reshape(-1)[self.voxels] = self.values


def corrected(
    label_map: np.ndarray, corrections: Iterable[Correction], labels: Labels, geometry: Geometry
) -> np.ndarray:
    """The label map (z, y, x) of the user's values after every step, in order; the one given stays as it is."""
    steps = tuple(corrections)
    result = np.array(label_map, order="C") if steps else label_map
    for step in steps:
        change(result, step, labels, geometry).apply(result)
    return result


def change(label_map: np.ndarray, correction: Correction, labels: Labels, geometry: Geometry) -> Change:
    """What one step changes in a label map (z, y, x) of the user's values.

    A mask is corrected by itself, whatever others a voxel is in; the foreground as a whole is any of them. A voxel that
    a label or region loses becomes what it is without it and without the regions inside it, or background
    where the correction clears. A voxel that it gains also belongs to the regions around it; of labels that exclude
    each other, only background is gained.
    """
    flat = geometry.dimensions == 2
    members = _values(correction.label, labels)
    before = np.empty(label_map.shape, bool)
    for inside, values in zip(before, label_map):  # numpy computes in 64 bits on the way: a slice at a time
        inside[...] = np.isin(values, members)
    mask, spacing = (before[0], geometry.spacing[1:]) if flat else (before, geometry.spacing)
    after = correction.method.apply(mask, spacing)
    different = np.flatnonzero(mask != after)  # a 2-D image is one slice, so its positions are those of the volume
    old = label_map.reshape(-1)[different]
    gained = after.reshape(-1)[different]
    new = old.copy()
    for value in np.unique(old).tolist():
        left = labels.values[0] if correction.clears else _without(value, correction.label, labels)
        new[(old == value) & ~gained] = left
        new[(old == value) & gained] = _with(value, correction.label, labels)
    moved = new != old
    return Change(different[moved], new[moved])


def _values(label: str | None, labels: Labels) -> list[int]:
    named = labels.foreground
    chosen = named.values() if label is None else [named[label]]
    return sorted({value for values in chosen for value in values})


def _without(value: int, label: str | None, labels: Labels) -> int:
    """What a voxel of ``value`` becomes when ``label`` loses it."""
    if isinstance(labels, MaskLabels) and label is not None:
        return value & ~labels.bit(label)
    if label is None or not isinstance(labels, RegionLabels):
        return labels.values[0]
    lost = set(labels.regions[label])
    return _painted(
        [name for name, values in labels.regions.items() if value in values and not set(values) <= lost], labels
    )


def _with(value: int, label: str | None, labels: Labels) -> int:
    """What a voxel of ``value`` becomes when ``label`` gains it."""
    if label is None:
        return value
    if isinstance(labels, MaskLabels):
        return value | labels.bit(label)
    if not isinstance(labels, RegionLabels):
        return labels.names[label] if value == labels.values[0] else value
    gained = set(labels.regions[label])
    return _painted(
        [name for name, values in labels.regions.items() if value in values or gained <= set(values)], labels
    )


def _painted(names: list[str], labels: RegionLabels) -> int:
    """The value of a voxel that belongs to these regions: later ones paint over earlier ones."""
    painted = [value for name, value in zip(labels.regions, labels.class_order) if name in names]
    return painted[-1] if painted else labels.background
