"""Which label was taken for which: amounts of every label of the reference by what was predicted there.

Of labels that exclude each other, and of regions, every voxel is of one class: its label, or all regions that hold it.
A voxel of several masks is of each of them, so that the amounts of a row may sum to more than its total.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ..core.labels import Labels
from ..core.masks import MaskLabels
from ..errors import DatasetError

COUNTED_AT_ONCE = 1 << 22  # voxels
SMALL = 256  # values from 0 on that are numbers of bins themselves
MOST_BINS = 1 << 22
NOTHING = "background"
Pair = tuple[str, str]


@dataclass
class Confusion:
    """Mutable: amounts of many cases are added up."""

    pairs: defaultdict[Pair, float] = field(default_factory=lambda: defaultdict(float))
    """Class of the reference and class that was predicted to how much."""
    totals: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Class of the reference to how much."""

    def add(self, other: Confusion, times: float = 1) -> None:
        """Adds another one, each amount so many ``times``: the size of its voxels."""
        for pair, amount in other.pairs.items():
            self.pairs[pair] += amount * times
        for name, amount in other.totals.items():
            self.totals[name] += amount * times

    def share(self, pair: Pair) -> float | None:
        """Of all that is of the class ``pair[0]`` in the reference, how much was taken for ``pair[1]``, 0 to 1; None
        where there is nothing of it."""
        total = self.totals.get(pair[0])
        return self.pairs.get(pair, 0.0) / total if total else None


def classes(labels: Labels) -> tuple[str, ...]:
    """What a voxel can be; background first."""
    if isinstance(labels, MaskLabels):
        return (NOTHING, *labels.masks)
    classes_of = _classes_by_value(labels)
    return tuple(dict.fromkeys(name for value in labels.values for name in classes_of(value)))


def confusion(reference: np.ndarray, prediction: np.ndarray, labels: Labels) -> Confusion:
    """Counts voxels of two label maps of one shape that hold the user's values; ignored ones are left out.

    Raises DatasetError for different shapes and for a value of no label.
    """
    if reference.shape != prediction.shape:
        sizes = (" x ".join(map(str, each.shape)) for each in (reference, prediction))
        raise DatasetError("the reference has {} voxels, the prediction {}".format(*sizes))
    found, known = Confusion(), dict[int, tuple[str, ...]]()
    classes_of, values = _classes_by_value(labels), frozenset(labels.values)
    for (true, predicted), count in _counted(reference, prediction).items():
        if true == labels.ignore:
            continue
        for value in {true, predicted} - known.keys():
            if value not in values:
                raise DatasetError(f"{value} is the value of no label")
            known[value] = classes_of(value)
        for name in known[true]:
            found.totals[name] += count
            for other in known[predicted]:
                found.pairs[name, other] += count
    return found


def most_confused(found: Confusion) -> list[Pair]:
    """Pairs of different classes, the largest amount first."""
    wrong = (pair for pair in found.pairs if pair[0] != pair[1])
    return sorted(wrong, key=lambda pair: (-found.pairs[pair], pair))


def _classes_by_value(labels: Labels) -> Callable[[int], tuple[str, ...]]:
    """Asked often: of some datasets there are thousands of values."""
    if isinstance(labels, MaskLabels):
        masks = labels.masks
        return lambda value: tuple(name for bit, name in enumerate(masks) if value >> bit & 1) or (NOTHING,)
    names: dict[int, list[str]] = {}
    for name, values in labels.foreground.items():
        for value in values:
            names.setdefault(value, []).append(name)
    return lambda value: (" + ".join(names.get(value, ())) or NOTHING,)


def _counted(one: np.ndarray, other: np.ndarray) -> Counter[tuple[int, int]]:
    """How often which two values lie in one place."""
    found: Counter[tuple[int, int]] = Counter()
    for start in range(0, one.size, COUNTED_AT_ONCE):
        (first, at), (second, where) = (
            _numbered(each.reshape(-1)[start : start + COUNTED_AT_ONCE]) for each in (one, other)
        )
        together, bins = at * len(second) + where, len(first) * len(second)
        if bins <= MOST_BINS:
            counts = np.bincount(together, minlength=bins)
            places = np.flatnonzero(counts)
            counts = counts[places]
        else:
            places, counts = np.unique(together, return_counts=True)
        for place, count in zip(places.tolist(), counts.tolist()):
            found[int(first[place // len(second)]), int(second[place % len(second)])] += count
    return found


def _numbered(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Different values, and for each voxel (int64) which of these it holds."""
    low, high = int(values.min()), int(values.max())
    if low >= 0 and high < SMALL:
        return np.arange(high + 1), values.astype(np.int64)
    found, numbers = np.unique(values, return_inverse=True)
    return found, numbers.reshape(-1).astype(np.int64)
