"""What a label map means: the user's values, our dense indices, the network's heads.

Three number systems meet here and nowhere else:

* *values* are what the user wrote into the label files (0/255, 205/420/..., anything integer);
* *indices* are dense, 0 = background, 1..n = the other values in ascending order, ``ignore_index`` = the ignore value.
  Prepared label maps and training targets hold indices;
* *heads* are the network's output channels: one per index for exclusive labels (softmax), one per region for
  regions (sigmoid), one per mask for masks that may overlap (sigmoid; ``masks.py``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, ClassVar, Union

import numpy as np

from ..errors import DatasetError
from .masks import MaskLabels
from .names import short, shown_name

if TYPE_CHECKING:
    from torch import Tensor

ENCODED_AT_ONCE = 1 << 20  # voxels
MOST_LABELS = 10_000  # the finest atlases have some thousand


@dataclass(frozen=True)
class ExclusiveLabels:
    """Every voxel carries exactly one label."""

    KIND: ClassVar[str] = "exclusive"
    exclusive: ClassVar[bool] = True

    names: dict[str, int]
    """Name to the value in the user's files; ``background`` is among them, ``ignore`` is not."""
    ignore: int | None = None
    """The value that means "not annotated": left out of loss, statistics and scores."""

    def __post_init__(self) -> None:
        _refuse_names(self.names, self.ignore, self.names.values())
        if "background" not in self.names:
            raise ValueError("labels must name the background")
        if len(self.names) < 2:
            raise ValueError("there is no label besides the background")
        if len(set(self.names.values())) < len(self.names):
            twice = next(value for value, count in Counter(self.names.values()).items() if count > 1)
            raise ValueError(f"two labels share the value {twice}")

    @property
    def values(self) -> tuple[int, ...]:
        """The value of every index, background first, the rest ascending."""
        background = self.names["background"]
        return (background, *sorted(value for value in self.names.values() if value != background))

    @property
    def ignore_index(self) -> int | None:
        return None if self.ignore is None else len(self.values)

    @property
    def heads(self) -> int:
        return len(self.values)

    @property
    def foreground(self) -> dict[str, tuple[int, ...]]:
        """What is scored: name to the values that make it up, in the order of the heads."""
        by_value = {value: name for name, value in self.names.items()}
        return {by_value[value]: (value,) for value in self.values[1:]}

    @property
    def index_table(self) -> np.ndarray:
        """(heads, indices) bool: which head is on for which index."""
        return np.eye(len(self.values), dtype=bool)

    def encode(self, label_map: np.ndarray) -> np.ndarray:
        """User's values to indices (uint8 or uint16), same shape. Raises DatasetError on an unknown value."""
        return _indices(label_map, self.values, self.ignore)

    @property
    def written(self) -> np.ndarray:
        """The value that is written where head i is largest (smallest fitting integer type)."""
        return _value_table(self.values)

    @property
    def head_names(self) -> tuple[str, ...]:
        return ("background", *self.foreground)

    def probabilities(self, logits: Tensor, axis: int = -1) -> Tensor:
        """Of every head; along ``axis``, the heads', they sum to 1."""
        return logits.softmax(axis)

    def winners(self, logits: Tensor, axis: int = -1) -> Tensor:
        """Index into ``written`` of what is decided, without ``axis``, that of the heads."""
        return logits.argmax(axis)


@dataclass(frozen=True)
class RegionLabels:
    """Labels that are unions of values and may overlap (whole tumour, tumour core, ...)."""

    KIND: ClassVar[str] = "regions"
    exclusive: ClassVar[bool] = False

    regions: dict[str, tuple[int, ...]]
    """Region name to the values it unites, in the order of the heads; without background."""
    class_order: tuple[int, ...]
    """The value each region paints, in turn, when a prediction is written (nnU-Net's regions_class_order)."""
    background: int = 0
    ignore: int | None = None
    """The value that means "not annotated"."""

    def __post_init__(self) -> None:
        _refuse_names(self.regions, self.ignore, {self.background, *chain.from_iterable(self.regions.values())})
        if not self.regions or not all(self.regions.values()):
            raise ValueError("there must be a region, and in each a value")
        if len(self.class_order) != len(self.regions):
            raise ValueError(
                f"regions_class_order has {len(self.class_order)} entries for {len(self.regions)} regions; "
                "give one value per region, in the order in which they are painted"
            )

    @property
    def values(self) -> tuple[int, ...]:
        united = {value for values in self.regions.values() for value in values} - {self.background}
        return (self.background, *sorted(united))

    @property
    def ignore_index(self) -> int | None:
        return None if self.ignore is None else len(self.values)

    @property
    def heads(self) -> int:
        return len(self.regions)

    @property
    def foreground(self) -> dict[str, tuple[int, ...]]:
        return dict(self.regions)

    @property
    def index_table(self) -> np.ndarray:
        """(heads, indices) bool: which head is on for which index."""
        return np.array([[value in region for value in self.values] for region in self.regions.values()])

    def encode(self, label_map: np.ndarray) -> np.ndarray:
        """User's values to indices (uint8 or uint16), same shape. Raises DatasetError on an unknown value."""
        return _indices(label_map, self.values, self.ignore)

    @property
    def written(self) -> np.ndarray:
        """The value that is written where no region is on, then where region i is the last one that is on."""
        return _value_table((self.background, *self.class_order))

    @property
    def head_names(self) -> tuple[str, ...]:
        return tuple(self.regions)

    def probabilities(self, logits: Tensor, axis: int = -1) -> Tensor:
        """Of every region by itself; ``axis``, that of the heads, does not matter."""
        return logits.sigmoid()

    def winners(self, logits: Tensor, axis: int = -1) -> Tensor:
        """Index into ``written`` of what is decided, without ``axis``, that of the heads.

        Each region that is on (sigmoid(logit) > 0.5) paints over the ones before it.
        """
        on = (logits.movedim(axis, -1) > 0).long()
        return (on * on.new_tensor(range(1, self.heads + 1))).amax(-1)


Labels = Union[ExclusiveLabels, RegionLabels, MaskLabels]


def names_of(labels: Labels, numbers: Iterable[int]) -> tuple[str, ...]:
    """The labels, regions or masks of a case that holds ``numbers``: label indices, or which mask, counted from 1."""
    if isinstance(labels, MaskLabels):
        held = set(numbers)
        return tuple(name for number, name in enumerate(labels.masks, 1) if number in held)
    values = labels.values
    there = {values[number] for number in numbers}
    return tuple(name for name, members in labels.foreground.items() if there & set(members))


def each_mask(indices: np.ndarray, labels: Labels, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """``change`` of a map of label indices; of masks, between which no voxel has to choose, of each by itself."""
    return labels.each(indices, change) if isinstance(labels, MaskLabels) else change(indices)


def _refuse_names(names: Collection[str], ignore: int | None, values: Collection[int]) -> None:
    for name in names:
        shown_name(name, "label")
    if max(len(names), len(values)) > MOST_LABELS:
        raise ValueError(f"there are more than {MOST_LABELS} labels")
    if ignore is not None and ignore in values:
        raise ValueError(f"the value {ignore} of `ignore` also belongs to a label")


def _indices(label_map: np.ndarray, values: tuple[int, ...], ignore: int | None) -> np.ndarray:
    index_of = {value: index for index, value in enumerate(values)}
    if ignore is not None:
        index_of[ignore] = len(values)
    found = np.unique(label_map)
    unknown = [value for value in found.tolist() if value not in index_of]
    if unknown:
        named = short(str(sorted(index_of)), 300)
        raise DatasetError(f"label values {unknown[:10]} are not among those named in the dataset: {named}")
    dtype = np.uint8 if len(values) < 255 else np.uint16
    table = np.array([index_of[value] for value in found.tolist()], dtype)
    flat = label_map.reshape(-1)
    indices = np.empty(flat.shape, dtype)
    for start in range(0, flat.size, ENCODED_AT_ONCE):  # the search holds 64-bit numbers: eight times a label map
        part = slice(start, start + ENCODED_AT_ONCE)
        indices[part] = table[np.searchsorted(found, flat[part])]
    return indices.reshape(label_map.shape)


def _value_table(values: tuple[int, ...]) -> np.ndarray:
    signed = "i" if min(values) < 0 else "u"
    smallest = next(
        kind
        for kind in (np.dtype(f"{signed}{size}") for size in (1, 2, 4, 8))
        if np.iinfo(kind).min <= min(values) and max(values) <= np.iinfo(kind).max
    )
    return np.array(values, smallest)
