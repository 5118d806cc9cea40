"""What each member of an ensemble predicts by itself, summed while their mean is: how far they disagree is seen of it.

Members are the networks of all folds, each on a patch and on its mirror images, wherever patches overlap. Sums are of
probabilities and entropies, so they take a little more than twice the memory of logits, however many members there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from ..core.labels import Labels
from .accumulator import Accumulator
from .entropy import disagreement, summand
from .readout import PIECE_BYTES
from .tiles import Tile

SUMMED_BYTES = 1 << 22  # of a patch, added at a time: a processor's caches hold what is computed on the way


class Members:
    """Their sums over one image."""

    def __init__(self, window: Accumulator, labels: Labels, logits_of: Sequence[Callable[[Tensor], Tensor]]) -> None:
        """``logits_of`` makes (..., heads) of what each of the networks gives."""
        self._window, self._labels = window, labels
        self._summands = [partial(self._summand, logits=logits) for logits in logits_of]

    def add(self, network: int, tile: Tile, part: Tensor, flips: Sequence[int], share: float) -> None:
        """Adds ``share`` of what the network with this number says about a patch, mirrored along ``flips``."""
        self._window.add(tile, part, flips, share, summand=self._summands[network])

    def disagreement(self, start: int, stop: int) -> Tensor:
        """Bits (z, y, x) of these slices. ``start`` never decreases from call to call."""
        found = []
        for part in self._window.parts(start, stop, slices=1):
            voxels = part.flatten(0, 2)
            pieces = voxels.split(max(1, PIECE_BYTES // (4 * voxels.shape[1])))
            found.append(torch.cat([disagreement(piece, self._labels) for piece in pieces]).view(part.shape[:3]))
        return torch.cat(found)

    def _summand(self, part: Tensor, logits: Callable[[Tensor], Tensor]) -> Tensor:
        return summand(logits(part.float()), self._labels)
