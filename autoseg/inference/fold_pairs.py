"""Dice between what the networks of several folds decide, each by itself: where they disagree, a prediction fails.

The mean Dice of pairs is the best of the failure detectors compared by Zenk et al. 2024 (arXiv:2406.03323). Every
network decides a patch as it lies, not mirrored, and a voxel of it counts as much as in the mean of all patches. So
only decisions of one patch are held, a byte or two per voxel and network, and no volume is. Patches that are uniform,
as in air, are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from ..core.labels import Labels
from .readout import PIECE_BYTES
from .tiles import Tile

AT_ONCE = 1 << 16  # voxels whose membership in every head is looked up


class FoldPairs:
    """What is counted while one image is predicted, by one configuration or several."""

    def __init__(self, labels: Labels) -> None:
        self._labels = labels
        self._windows: list[WindowPairs] = []

    def window(self, networks: int) -> WindowPairs | None:
        """For the networks of one configuration, which see one grid; None where there are no two."""
        if networks < 2:
            return None
        self._windows.append(WindowPairs(self._labels, networks))
        return self._windows[-1]

    def dice(self) -> dict[str, float | None]:
        """Label to the mean Dice over all pairs that hold it; None where none does."""
        if not self._windows:
            return {}
        pairs = np.concatenate([window.dice() for window in self._windows])  # (pairs, heads)
        known = ~np.isnan(pairs)
        counts = known.sum(0)
        sums = np.where(known, pairs, 0).sum(0)
        return {
            name: float(sums[head] / counts[head]) if counts[head] else None
            for head, name in enumerate(self._labels.head_names)
        }


class WindowPairs:
    """Weighted voxels of every head in what each network decides, and in what any two decide alike."""

    def __init__(self, labels: Labels, networks: int) -> None:
        self._labels = labels
        self._table = None if labels.exclusive else membership(labels)
        self._pairs = list(combinations(range(networks), 2))
        self._sizes = np.zeros((networks, labels.heads))
        self._both = np.zeros((len(self._pairs), labels.heads))

    def decided(self, values: Tensor, logits_of: Callable[[Tensor], Tensor]) -> Tensor:
        """(z, y, x) of what one network gives (z, y, x, values), of which ``logits_of`` makes logits."""
        kind = torch.uint8 if len(self._labels.written) <= 256 else torch.int32
        slices = max(1, PIECE_BYTES // (4 * self._labels.heads * values[0, ..., 0].numel()))
        return torch.cat([self._labels.winners(logits_of(part.float())).to(kind) for part in values.split(slices)])

    def add(self, tile: Tile, decisions: Sequence[Tensor]) -> None:
        """One patch as every network decides it."""
        together = torch.stack(list(decisions))
        inside = (together != 0).any(0)  # 0 is the background
        z, y, x = tile.weights
        weights = ((z[:, None, None] * y[:, None]) * x)[inside.cpu().numpy()].astype(np.float64)
        if not weights.size:
            return
        found = together[:, inside].cpu().numpy()
        for number, numbers in enumerate(found):
            self._sizes[number] += self._sums(numbers, weights)
        for place, (first, second) in enumerate(self._pairs):
            self._both[place] += self._alike(found[first], found[second], weights)

    def dice(self) -> np.ndarray:
        """(pairs, heads); NaN where neither of a pair has any."""
        totals = np.array([self._sizes[first] + self._sizes[second] for first, second in self._pairs])
        return np.divide(2 * self._both, totals, out=np.full_like(totals, np.nan), where=totals > 0)

    def _sums(self, numbers: np.ndarray, weights: np.ndarray) -> np.ndarray:
        counted = np.bincount(numbers, weights, len(self._labels.written))
        return counted if self._table is None else counted @ self._table

    def _alike(self, first: np.ndarray, second: np.ndarray, weights: np.ndarray) -> np.ndarray:
        if self._table is None:
            same = first == second
            return self._sums(first[same], weights[same])
        total = np.zeros(self._table.shape[1])
        for start in range(0, weights.size, AT_ONCE):
            part = slice(start, start + AT_ONCE)
            total += weights[part] @ (self._table[first[part]] * self._table[second[part]])
        return total


def membership(labels: Labels) -> np.ndarray:
    """(written values, heads), float32 of 0 and 1: to which regions or masks a voxel belongs once it is written."""
    of_heads = [np.isin(labels.written, members) for members in labels.foreground.values()]
    return np.stack(of_heads, 1).astype(np.float32)
