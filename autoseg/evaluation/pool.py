"""Weights with which probabilities of several networks are averaged, for each label others: a linear pool.

Which modality shows a label best differs from label to label. For each, against all others, the weights are taken for
which the unseen references are likeliest: those of a mixture, whose likelihood has a single maximum that expectation
maximisation climbs (Dempster et al. 1977). They are not below 0 and sum to 1. That is the least cross-entropy of the
averaged probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..core.fusion import weights_of_those

WHOLE = 1000  # parts that a weight is rounded to, so that whole numbers decide wherever label maps are compared
LEAST = 0.02  # a network with less in every label is left out: it costs as much time as the others
ROUNDS = 1000
STEADY = 1e-6  # no weight changes by more: the maximum is reached
UNSURE = 1 / 255  # no probability counts as less, since 8 bits do not tell


@dataclass(frozen=True)
class Pool:
    """Configurations, and how their probabilities are weighed."""

    members: tuple[str, ...]
    shares: np.ndarray
    """(members, heads) of ``WHOLE``, for each head; what all cases teach."""
    without: Mapping[str, np.ndarray]
    """Case to the same as the cases of other folds teach it."""

    def shares_without(self, key: str, there: Sequence[str]) -> np.ndarray:
        """For the case ``key``, (there, heads) of ``WHOLE``: those of the configurations that see it."""
        shares = self.without[key]
        if len(there) == len(self.members):
            return shares
        known = weights_of_those(shares.tolist(), [self.members.index(name) for name in there])
        return whole_shares(np.array(known))

    def named(self, heads: Sequence[str]) -> dict[str, dict[str, float]]:
        """Configuration to the weight of each head."""
        return {
            name: {head: share / WHOLE for head, share in zip(heads, row)}
            for name, row in zip(self.members, self.shares.tolist())
        }


def pool_weights(chances: np.ndarray, truth: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(members, heads) that sum to 1 for each head.

    ``chances`` (members, heads, voxels) are probabilities, ``truth`` (heads, voxels) bool, and each voxel counts
    (voxels,) times.
    """
    likely = np.where(truth, chances, 1 - chances).clip(UNSURE)
    weights = np.full(chances.shape[:2], 1 / len(chances))
    for _ in range(ROUNDS):
        parts = weights[..., None] * likely
        parts /= parts.sum(0)
        before, weights = weights, parts @ (counts / counts.sum())
        if np.abs(weights - before).max() < STEADY:
            break
    return weights


def whole_shares(weights: np.ndarray) -> np.ndarray:
    """(members, heads) as whole parts of ``WHOLE``, which they sum to; what is left after rounding down goes to those
    that lost most."""
    shares = np.floor(weights * WHOLE).astype(np.int64)
    order = np.argsort(shares - weights * WHOLE, axis=0, kind="stable")
    rank = np.argsort(order, axis=0, kind="stable")
    return shares + (rank < WHOLE - shares.sum(0))
