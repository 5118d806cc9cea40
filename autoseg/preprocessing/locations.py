"""Where the labels of a case are: voxels that training patches may be centred on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ..core.labels import Labels
from ..core.masks import MaskLabels
from ..core.seeds import generator

LOCATIONS = 10_000  # nnU-Net v2 2.8.1: voxels remembered per class, or
SHARE_OF_LOCATIONS = 0.01  # this share of the class where that is more


@dataclass(frozen=True)
class Locations:
    """A sample of the voxels of every label, label by label and in each of them part by connected part."""

    voxels: np.ndarray
    """(n, 3) int32, on the network's grid."""
    labels: np.ndarray
    """(parts,) label index of each part, of masks which one it is, from 1 on; ascending. Index 0 is there only where an
    ignore label exists: then it tells which background voxels are annotated."""
    ends: np.ndarray
    """(parts,) the row of ``voxels`` after the last one of each part."""
    sizes: np.ndarray
    """(parts,) voxels of each part, all of them."""

    @classmethod
    def of(cls, voxels: Mapping[int, np.ndarray]) -> Locations:
        """All voxels (n, 3) per label index, each label in one part."""
        present = sorted(index for index, positions in voxels.items() if len(positions))
        sizes = np.array([len(voxels[index]) for index in present], np.int64)
        rows = [np.empty((0, 3), np.int32), *(voxels[index] for index in present)]
        return cls(np.concatenate(rows).astype(np.int32), np.array(present, np.int64), np.cumsum(sizes), sizes)

    @property
    def present(self) -> dict[int, int]:
        """Label index to the number of its voxels, all of them."""
        indices, starts = np.unique(self.labels, return_index=True)
        return dict(zip(indices.tolist(), np.add.reduceat(self.sizes, starts).tolist())) if indices.size else {}

    def of_label(self, index: int) -> np.ndarray:
        """(n, 3) the voxels remembered of one label."""
        first, last = self._parts(index)
        return self.voxels[self._start(first) : self.ends[last - 1]]

    def draw(self, index: int, random: np.random.Generator, *, part_first: bool = False) -> np.ndarray:
        """One voxel (z, y, x) of a label that is present. ``part_first``: of a part drawn before, whatever its size."""
        first, last = self._parts(index)
        if part_first:
            first = int(random.integers(first, last))
            last = first + 1
        voxel: np.ndarray = self.voxels[random.integers(self._start(first), self.ends[last - 1])]
        return voxel

    def _parts(self, index: int) -> tuple[int, int]:
        first, last = np.searchsorted(self.labels, (index, index + 1)).tolist()
        return first, last

    def _start(self, part: int) -> int:
        return int(self.ends[part - 1]) if part else 0


def class_locations(indices: np.ndarray, labels: Labels) -> Locations:
    """Voxels of every label, or mask, present in ``indices`` (z, y, x), at random but always the same ones.

    Each gets ``max(min(LOCATIONS, voxels), 1 % of its voxels)``, and at least one of each of its connected parts
    (touching corners connect). The ignored index has none.
    """
    random = generator(0, "class locations")
    kept, of, rows, sizes = [], [], [], []
    for index, flat, parts in _present(indices, labels):
        chosen, part_rows, part_sizes = _sample(flat, parts, random)
        kept.append(chosen)
        of += [index] * len(part_rows)
        rows.append(part_rows)
        sizes.append(part_sizes)
    none = np.empty(0, np.int64)
    voxels = np.stack(np.unravel_index(np.concatenate([none, *kept]), indices.shape), axis=1).astype(np.int32)
    return Locations(
        voxels, np.array(of, np.int64), np.cumsum(np.concatenate([none, *rows])), np.concatenate([none, *sizes])
    )


def _present(indices: np.ndarray, labels: Labels) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Of every label that is there: its index, or which mask it is, its voxels, and the part of every voxel of the
    image, both flat; background is part 0."""
    from cc3d import connected_components

    if isinstance(labels, MaskLabels):
        for number, mask in enumerate(labels.split(indices), 1):
            if (flat := np.flatnonzero(mask)).size:
                yield number, flat, connected_components(mask, connectivity=26).reshape(-1)
        return
    annotated_background = labels.ignore_index is not None
    flat = np.arange(indices.size) if annotated_background else np.flatnonzero(indices)
    values = indices.reshape(-1)[flat]
    flat = flat[np.argsort(values, kind="stable")]
    counts = np.bincount(values, minlength=1)
    ends = np.cumsum(counts)
    parts = connected_components(indices, connectivity=26).reshape(-1)
    for index in np.flatnonzero(counts).tolist():
        if index != labels.ignore_index:
            yield index, flat[ends[index] - counts[index] : ends[index]], parts


def _sample(
    voxels: np.ndarray, parts: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the flat positions of one label: those to remember, part by part, how many in each, and each part's size."""
    count = len(voxels)
    part = parts[voxels]
    low = int(part.min())
    sizes = np.bincount(part - low)
    wanted = max(min(LOCATIONS, count), int(np.ceil(count * SHARE_OF_LOCATIONS)))
    if wanted < count:
        chosen = random.choice(count, wanted, replace=False, shuffle=False)
        some_voxel = np.zeros(len(sizes), np.int64)
        some_voxel[part - low] = np.arange(count)
        missed = (sizes > 0) & (np.bincount(part[chosen] - low, minlength=len(sizes)) == 0)
        chosen = np.concatenate([chosen, some_voxel[missed]])
        voxels, part = voxels[chosen], part[chosen]
    order = np.argsort(part, kind="stable")
    remembered = np.bincount(part - low, minlength=len(sizes))
    return voxels[order], remembered[sizes > 0], sizes[sizes > 0]
