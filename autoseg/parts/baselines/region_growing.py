"""Region growing from seeds: what is connected to them and as bright as they are (Adams and Bischof 1994, simplified).

Of each label all voxels count that are within some standard deviations of its seeds' mean, in every channel, and where
training cases had the label at all; those stay that are connected to a seed. Voxels of several labels become the
likeliest one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.components import FACES, components
from ...core.evidence import Hints
from ._seeds import USUAL, Seeded
from ._settings import candidates

SPREADS = (2.0, 1.5, 2.5, 3.0)
LEAST = 0.01  # standard deviation of scaled intensities


@dataclass(frozen=True)
class Spec(Seeded):
    """Of all channels, in 3-D."""

    one_channel: ClassVar[bool] = False

    spread: float | None = None
    """Standard deviations of the seeds; None: 1.5, 2, 2.5 and 3 are tried."""

    def candidates(self) -> tuple[Spec, ...]:
        return candidates(self, seeds=USUAL, spread=SPREADS)

    def segment(self, image: np.ndarray, spacing: Sequence[float], hints: Hints | None) -> np.ndarray:
        assert hints is not None
        seeds, spread = self.seeded(hints), SPREADS[0] if self.spread is None else self.spread
        found, best = np.zeros(seeds.shape, np.int32), np.zeros(seeds.shape, np.float32)
        for label in range(1, len(hints.places)):
            begin = seeds == label + 1
            if not begin.any():
                continue
            alike = hints.possible(label) & (seeds != 1)
            for channel in image:
                values = channel[begin]
                alike &= np.abs(channel - values.mean()) <= spread * max(LEAST, float(values.std()))
            numbered = components(alike | begin, FACES)
            grown = np.isin(numbered, np.unique(numbered[begin]))
            wins = grown & (hints.probabilities[label] > best)
            found[wins], best[wins] = label, hints.probabilities[label][wins]
        return found
