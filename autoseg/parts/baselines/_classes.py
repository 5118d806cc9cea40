"""Methods that sort intensities into classes: which class is which label, learned on training cases."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

SAMPLED = 50_000  # voxels by which classes are found
ASSIGNED_AT_ONCE = 1 << 18  # voxels


def counts(pairs: Iterable[tuple[np.ndarray, np.ndarray]], classes: int, labels: int) -> np.ndarray:
    """Voxels (classes, labels) of pairs of class numbers and label numbers; those below 0 do not count."""
    found = np.zeros(classes * labels, np.int64)
    for numbers, truth in pairs:
        known = truth >= 0
        found += np.bincount(numbers[known].astype(np.int64) * labels + truth[known], minlength=found.size)
    return found.reshape(classes, labels)


def labels_of(counted: np.ndarray) -> tuple[int, ...]:
    """The label of each class, from voxels (classes, labels), so that each label gets the best Dice that it can have.

    Of one label the best set of classes is the purest ones, up to some number of them. A class that several labels
    want goes to the one that has more of it; a class that none wants is background.
    """
    inside = counted.sum(1)
    wanted = np.zeros(counted.shape, bool)
    for label in range(1, counted.shape[1]):
        there = counted[:, label]
        order = np.argsort(-(there / np.maximum(inside, 1)), kind="stable")
        dice = 2 * np.cumsum(there[order]) / np.maximum(np.cumsum(inside[order]) + there.sum(), 1)
        if dice.max() > 0:
            wanted[order[: int(np.argmax(dice)) + 1], label] = True
    chosen = np.where(wanted, counted, -1).argmax(1)
    return tuple(int(label) if wanted[number, label] else 0 for number, label in enumerate(chosen))


def sample(images: Sequence[np.ndarray]) -> np.ndarray:
    """Voxels (count, channels) of images (channels, *grid), evenly spread, alike of each image."""
    each = max(1, SAMPLED // len(images))
    flat = [image.reshape(len(image), -1) for image in images]
    return np.concatenate([image[:, :: max(1, image.shape[1] // each)].T for image in flat]).astype(np.float64)


def first_centres(points: np.ndarray, classes: int) -> np.ndarray:
    """Means (classes, channels) of ``points`` in equal parts from dark to bright, by the sum of their channels."""
    order = np.argsort(points.sum(1), kind="stable")
    return np.stack([points[part].mean(0) for part in np.array_split(order, classes)])


def in_blocks(image: np.ndarray) -> Iterable[tuple[slice, np.ndarray]]:
    """Voxels (count, channels) of an image, some at a time, and where they lie in the flattened grid."""
    flat = image.reshape(len(image), -1)
    for start in range(0, flat.shape[1], ASSIGNED_AT_ONCE):
        part = slice(start, start + ASSIGNED_AT_ONCE)
        yield part, flat[:, part].T.astype(np.float64)
