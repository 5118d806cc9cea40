"""Test-time mirroring: a patch and its mirror images are predicted and their logits averaged."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations


def mirrorings(axes: Sequence[int]) -> list[tuple[int, ...]]:
    """Every subset of the axes, the empty one (the patch as it is) first: 8 for three axes.

    Averaging logits, not probabilities, over them is what nnU-Net does over mirrorings and folds.
    """
    return [subset for size in range(len(axes) + 1) for subset in combinations(axes, size)]
