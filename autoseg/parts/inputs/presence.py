"""Which channels of the image are there: one constant channel for each, 1 where it is and 0 where it is missing.

A channel that a case lacks, or that training withholds, is 0 everywhere, about its mean in others; this tells the
network that it is nothing that was measured.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ...core.inputs import InputGroup

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ...core.geometry import Box
    from ...core.inputs import CaseInPrediction, CaseInTraining, Move
    from ...core.labels import Labels


@dataclass(frozen=True)
class Spec:
    """Nothing is to be set."""

    previous: ClassVar[None] = None

    def group(self, channels: Sequence[str], labels: Labels) -> InputGroup:
        """One channel per channel of the image."""
        return InputGroup("presence", "heat map", len(channels))

    def read(self, case: CaseInTraining, box: Box) -> np.ndarray:
        """Of the case as it is, without what training withholds."""
        return _constant(case.channels, case.absent, box.shape)

    def draw(self, generator: np.random.Generator, *, batch: int, group: InputGroup) -> Sequence[Any]:
        """Nothing: what is withheld is drawn with the batch."""
        return (None,) * batch

    def apply(self, arrays: Sequence[Tensor], targets: Tensor, drawn: Sequence[Any], move: Move) -> Tensor:
        """(B, channels, *patch): what the batch lacks, whatever its cases had."""
        import torch

        channels, patch = len(arrays[0]), targets.shape[1:]
        there = torch.ones(len(arrays), channels)
        for row, absent in zip(there, move.absent):
            row[list(absent)] = 0
        return there.to(targets.device).view(*there.shape, *(1,) * len(patch)).expand(*there.shape, *patch)

    def make(self, case: CaseInPrediction) -> np.ndarray:
        """(channels, z, y, x)."""
        channels, *shape = case.image.shape
        return _constant(channels, case.absent, shape)

    def encode(self, arrays: Tensor, group: InputGroup) -> Tensor:
        """Constant over the whole patch, beyond the image too, where what was read is 0."""
        return arrays.amax(tuple(range(2, arrays.dim())), keepdim=True).expand_as(arrays)


def _constant(channels: int, absent: Collection[int], shape: Sequence[int]) -> np.ndarray:
    """(channels, *shape) in one byte per channel, however large the shape: a view."""
    import numpy as np

    there = np.array([number not in absent for number in range(channels)], np.uint8)
    return np.broadcast_to(there.reshape(-1, *(1,) * len(shape)), (channels, *shape))
