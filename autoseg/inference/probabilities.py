"""Probabilities of all heads on the file's grid, 8 or 16 bit or float, in main memory or in a file beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from ..core.labels import Labels, RegionLabels
from ..core.scratch import Scratch

KINDS = ("uint8", "uint16", "float32")


@dataclass(frozen=True)
class Probabilities:
    """What is stored times ``scale`` is a probability."""

    stored: np.ndarray
    """(heads, z, y, x). Heads are in the order of the labels (background first) and sum to one, or of the regions,
    each on its own."""
    scratch: Scratch | None = None
    """The file that holds ``stored``; None: main memory."""

    @classmethod
    def empty(cls, labels: Labels, shape: tuple[int, int, int], kind: str, folder: Path | None) -> Probabilities:
        """Certainly background everywhere; in a file in ``folder``, or in main memory where that is None."""
        whole = (labels.heads, *shape)
        scratch = Scratch(whole, np.dtype(kind), folder) if folder else None
        found = cls(scratch.array if scratch else np.zeros(whole, kind), scratch)
        if not isinstance(labels, RegionLabels):
            found.stored[0] = round(1 / found.scale)
            found.release()
        return found

    @property
    def scale(self) -> float:
        kind = self.stored.dtype
        return 1 / np.iinfo(kind).max if kind.kind == "u" else 1.0

    def quantised(self, logits: Tensor, labels: Labels) -> np.ndarray:
        """What to store for logits (z, y, x, heads), as (heads, z, y, x)."""
        chances = logits.sigmoid() if isinstance(labels, RegionLabels) else logits.softmax(-1)
        heads_first = chances.movedim(-1, 0).cpu().numpy()
        if self.scale == 1:
            return heads_first
        return np.rint(heads_first / np.float32(self.scale)).astype(self.stored.dtype)

    def release(self) -> None:
        """Lets go of the main memory that a stored file occupies for now."""
        if self.scratch:
            self.scratch.release()
