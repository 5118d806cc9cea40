"""Test-time mirroring: a patch and its mirror images are predicted and their logits averaged."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import nn


def mirrorings(axes: Sequence[int]) -> list[tuple[int, ...]]:
    """Every subset of the axes, the empty one (the patch as it is) first: 8 for three axes."""
    return [subset for size in range(len(axes) + 1) for subset in combinations(axes, size)]


def mean_logits(networks: Sequence[nn.Module], patches: torch.Tensor, axes: Sequence[int]) -> torch.Tensor:
    """Mean over networks and mirrorings of the finest logits.

    ``patches`` is (B, channels, *patch); ``axes`` count the spatial axes of the patch from 0. Returns
    (B, heads, *patch) in float32. Averaging logits, not probabilities, is what nnU-Net does over mirrorings and folds.
    """
    total: torch.Tensor | None = None
    subsets = mirrorings(axes)
    for subset in subsets:
        flips = tuple(axis + 2 for axis in subset)
        mirrored = patches.flip(flips) if flips else patches
        for network in networks:
            finest = network(mirrored)[0].float()
            logits = finest.flip(flips) if flips else finest
            total = logits if total is None else total.add_(logits)
    assert total is not None, "a model has at least one network"
    return total.div_(len(subsets) * len(networks))
