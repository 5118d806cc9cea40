"""The last layer of networks, applied last of all: after patches were averaged and brought to the file's grid.

It is linear and sees one voxel at a time, so it may be exchanged with everything that averages maps: Gaussian weights,
mirror images, folds, linear interpolation. Where a network computes 118 labels from 32 feature maps, the maps are
summed and resampled, and logits exist for a few thousand voxels at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

PIECE_BYTES = 1 << 22  # of logits: they are decided before they fall out of a processor's caches
PIECE_BYTES_ON_GPU = 1 << 28


class Readout:
    """Mean logits of networks from their feature maps, which lie one after the other along the last axis."""

    def __init__(self, layers: Sequence[Any]) -> None:
        """``layers`` are convolutions whose kernel is one voxel, one per network."""
        weights = [layer.weight.detach().flatten(1).float() for layer in layers]
        self.weight = torch.cat(weights, 1) / len(layers)
        """(heads, maps)."""
        biases = [weight.new_zeros(len(weight)) if layer.bias is None else layer.bias.detach().float()
                  for weight, layer in zip(weights, layers)]  # fmt: skip
        self.bias = sum(biases[1:], biases[0]) / len(layers)
        edges = accumulate((weight.shape[1] for weight in weights), initial=0)
        self.maps = [slice(start, stop) for start, stop in pairwise(edges)]
        """Of each network."""

    @classmethod
    def of(cls, networks: Sequence[nn.Module], heads: int) -> Readout | None:
        """None where the networks do not say what their last layer is, or have no fewer maps than heads."""
        layers: list[Any] = [getattr(network, "last", None) for network in networks]
        told = all(layer is not None for layer in layers)
        return cls(layers) if told and sum(layer.in_channels for layer in layers) < heads else None

    def __call__(self, maps: Tensor) -> Tensor:
        """Logits (..., heads), float32, from (..., maps)."""
        return linear(maps, self.weight.to(maps.device), self.bias.to(maps.device))


@dataclass(frozen=True)
class Slab:
    """What networks say about a few slices: logits, or feature maps that become logits when they are wanted."""

    values: Tensor
    """(z, y, x, heads) or (z, y, x, maps), float32."""
    readout: Readout | None = None
    disagreement: Tensor | None = None
    """Bits (z, y, x) of mutual information between a voxel's label and who predicts it; None where nobody asked."""

    def __getitem__(self, rows: slice) -> Slab:
        """Some of its slices."""
        return Slab(self.values[rows], self.readout, None if self.disagreement is None else self.disagreement[rows])

    def logits(self) -> Tensor:
        """(z, y, x, heads)."""
        return self.values if self.readout is None else self.readout(self.values)

    def pieces(self) -> Iterator[Tensor]:
        """Logits (voxels, heads) of all voxels in order; not all at once where they have to be computed."""
        flat = self.values.flatten(0, 2)
        if self.readout is None:
            yield flat
            return
        most = PIECE_BYTES_ON_GPU if flat.device.type == "cuda" else PIECE_BYTES
        for part in flat.split(max(1, most // (4 * len(self.readout.bias)))):
            yield self.readout(part)
