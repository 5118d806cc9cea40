"""Mistakes in the label map of an earlier stage, so that a network learns to doubt it: a batch at a time, in torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from .prior import Mistakes


@dataclass(frozen=True)
class Damage:
    """What happens to one patch of label indices, in order."""

    changed: tuple[tuple[int, str, float], ...]
    """Label, one of ``OPERATORS``, radius of its ball in voxels."""
    removed: tuple[tuple[int, float], ...]
    """Label, and which of its parts, in 0..1 from the first to the last."""
    masks: bool = False
    """Whether labels are masks, from 1 on, each a bit of the patch: none covers another."""

    def of(self, mask: int) -> Damage:
        """What happens to one mask, as label 1 of a patch in which nothing else is."""
        changed = tuple((1, operator, radius) for label, operator, radius in self.changed if label == mask)
        return Damage(changed, tuple((1, which) for label, which in self.removed if label == mask))


def draw_damage(
    mistakes: Mistakes, generator: np.random.Generator, batch: int, labels: int, masks: bool = False
) -> tuple[Damage, ...]:
    """One per patch; labels are 1..``labels``, and those that were chosen come in any order."""

    def chosen(probability: float, label_probability: float) -> list[int]:
        if generator.random() >= probability:
            return []
        order = generator.permutation(np.arange(1, labels + 1))
        return [int(label) for label in order if generator.random() < label_probability]

    names = list(OPERATORS)
    return tuple(
        Damage(
            changed=tuple(
                (label, names[generator.integers(len(names))], float(generator.uniform(*mistakes.radius)))
                for label in chosen(mistakes.change_probability, mistakes.change_label_probability)
            ),
            removed=tuple(
                (label, float(generator.random()))
                for label in chosen(mistakes.removal_probability, mistakes.removal_label_probability)
            ),
            masks=masks,
        )
        for _ in range(batch)
    )


def apply_damage(prior: Tensor, damage: Sequence[Damage], largest_removed: float) -> Tensor:
    """``prior`` (B, *patch) of label indices, changed. A label that grows covers others, one that shrinks bares 0.

    A label is worked on where it is, and one that a patch does not hold not at all: of many labels a patch holds few,
    and each of these is small.
    """
    prior = prior.clone()
    for patch, done in zip(prior, damage):
        if not done.masks:
            _damage(patch, done, largest_removed)
            continue
        for label in {label for label, _, _ in done.changed} | {label for label, _ in done.removed}:
            bit = label - 1
            alone = patch >> bit & 1
            patch -= alone << bit
            _damage(alone, done.of(label), largest_removed)
            patch += alone << bit
    return prior


def _damage(patch: Tensor, done: Damage, largest_removed: float) -> None:
    """Changes ``patch`` in place."""
    boxes = _boxes(patch) if done.changed or done.removed else {}
    for label, operator, radius in done.changed:
        if label in boxes:
            boxes[label] = _widened(boxes[label], int(radius) + 1)  # as far as it grows, and one of background
            part = patch[boxes[label]]
            before = part == label
            after = OPERATORS[operator](before, radius)
            part.masked_fill_(before & ~after, 0).masked_fill_(after & ~before, label)
    for label, which in done.removed:
        if label in boxes:
            part = patch[boxes[label]]
            part.masked_fill_(_part(part == label, which, largest_removed * patch.numel()), 0)


def _boxes(patch: Tensor) -> dict[int, tuple[slice, ...]]:
    """Where each label of ``patch`` (*patch) is."""
    from scipy.ndimage import find_objects

    found = find_objects(patch.cpu().numpy())
    return {label: box for label, box in enumerate(found, 1) if box is not None}


def _widened(box: tuple[slice, ...], margin: int) -> tuple[slice, ...]:
    """With ``margin`` voxels around it; slices end with what is sliced."""
    return tuple(slice(max(0, side.start - margin), side.stop + margin) for side in box)


def _part(mask: Tensor, which: float, largest: float) -> Tensor:
    """One connected part of ``mask`` (touching corners connect) that has less than ``largest`` voxels."""
    from scipy.ndimage import generate_binary_structure, label

    touching = generate_binary_structure(mask.dim(), mask.dim())
    parts, _ = label(mask.cpu().numpy(), touching)
    sizes = np.bincount(parts.ravel())
    small = np.flatnonzero(sizes[1:] < largest) + 1
    if not small.size:
        return torch.zeros_like(mask)
    return torch.from_numpy(parts == small[int(which * small.size)]).to(mask.device)


def dilate(mask: Tensor, radius: float) -> Tensor:
    """``mask`` (*patch) bool, grown by a ball of ``radius`` voxels.

    A voxel belongs to it when the nearest one of ``mask`` is no farther than ``radius``: the square of that distance is
    the least sum of one square per axis, found axis by axis (Felzenszwalb & Huttenlocher 2012), in ``radius`` steps.
    """
    distance = torch.where(mask, 0.0, torch.inf)
    for axis, size in enumerate(mask.shape):
        nearer = distance.clone()
        for step in range(1, min(int(radius), size - 1) + 1):
            rest = size - step
            for to, source in ((step, 0), (0, step)):
                target = nearer.narrow(axis, to, rest)
                torch.minimum(target, distance.narrow(axis, source, rest) + step**2, out=target)
        distance = nearer
    return distance <= radius**2


def erode(mask: Tensor, radius: float) -> Tensor:
    """``mask`` shrunk by the ball; beyond the patch it is taken to go on."""
    return ~dilate(~mask, radius)


OPERATORS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "dilate": dilate,
    "erode": erode,
    "open": lambda mask, radius: dilate(erode(mask, radius), radius),
    "close": lambda mask, radius: erode(dilate(mask, radius), radius),
}
