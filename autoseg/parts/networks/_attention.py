"""What weighs the feature maps that the way up of modular_unet gets of a stage.

Each is called with the maps (B, channels, *size) and, but for the coarsest stage, with what comes up from the stage
below, of the same shape. The result has that shape too.
"""

from __future__ import annotations

from math import sqrt
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from ._interpolation import in_bins
from ._switches import KEYS, non_local_stages
from ._unet import CONVOLUTION

SQUEEZED = 8  # channels per hidden unit of the small network that weighs channels (Rundo et al. 2019)
WIDE = 7  # edge of the kernel that weighs voxels (Woo et al. 2018)


class Spatial(nn.Module):
    """The additive gate of Attention U-Net (Oktay et al. 2018): a weight for each voxel, from the maps and what comes
    up. Both have the same resolution here, so that nothing is interpolated."""

    SCORES = "score"
    """The layer whose sigmoid weighs voxels, for ``parts.explanations``."""

    def __init__(self, channels: int, kernel: tuple[int, ...]) -> None:
        super().__init__()
        convolution, hidden = CONVOLUTION[len(kernel)], max(1, channels // 2)
        self.own = convolution(channels, hidden, 1)
        self.gate = convolution(channels, hidden, 1, bias=False)
        self.score = convolution(hidden, 1, 1)

    @staticmethod
    def stages(count: int) -> range:
        """All but the coarsest, to which nothing comes up."""
        return range(count - 1)

    def forward(self, maps: Tensor, coming: Tensor | None) -> Tensor:
        assert coming is not None, "the coarsest stage has no gate"
        return maps * self.score(functional.relu(self.own(maps) + self.gate(coming), inplace=True)).sigmoid()


class Channel(nn.Module):
    """Squeeze and excitation (Hu et al. 2018): a weight for each channel, from the means of all channels."""

    def __init__(self, channels: int, kernel: tuple[int, ...]) -> None:
        super().__init__()
        self.first = nn.Linear(channels, max(1, channels // SQUEEZED))
        self.second = nn.Linear(self.first.out_features, channels)

    @staticmethod
    def stages(count: int) -> range:
        """All."""
        return range(count)

    def forward(self, maps: Tensor, coming: Tensor | None) -> Tensor:
        return _scaled(maps, self.scores(_mean(maps)))

    def scores(self, pooled: Tensor) -> Tensor:
        """(B, channels) to the same; a sigmoid makes weights of them."""
        scores: Tensor = self.second(functional.relu(self.first(pooled)))
        return scores


class Mixed(Channel):
    """CBAM (Woo et al. 2018): channels are weighed by their means and maxima, then voxels by the means and maxima over
    channels around them."""

    SCORES = "voxels"
    """As in ``Spatial``."""

    def __init__(self, channels: int, kernel: tuple[int, ...]) -> None:
        super().__init__(channels, kernel)
        edges = tuple(WIDE if size > 1 else 1 for size in kernel)
        padding = tuple(edge // 2 for edge in edges)
        self.voxels = CONVOLUTION[len(kernel)](2, 1, edges, padding=padding, bias=False)

    def forward(self, maps: Tensor, coming: Tensor | None) -> Tensor:
        largest = maps.amax(tuple(range(2, maps.dim())))
        maps = _scaled(maps, self.scores(_mean(maps)) + self.scores(largest))
        return maps * self.voxels(torch.cat((maps.mean(1, keepdim=True), maps.amax(1, keepdim=True)), 1)).sigmoid()


class NonLocal(nn.Module):
    """Every voxel gets, added to it, a mean over all voxels of the patch, weighed by how they match (Wang et al. 2018).

    What is looked at are means over at most 16 x 16 or 8 x 8 x 8 bins, so that the cost grows with the voxels and not
    with their square (the paper subsamples likewise). It begins as if it were not there.
    """

    def __init__(self, channels: int, kernel: tuple[int, ...]) -> None:
        super().__init__()
        convolution, self.hidden = CONVOLUTION[len(kernel)], max(1, channels // 2)
        self.most = KEYS[len(kernel)]
        self.query = convolution(channels, self.hidden, 1)
        self.key = convolution(channels, self.hidden, 1)
        self.value = convolution(channels, self.hidden, 1)
        self.out = convolution(self.hidden, channels, 1)

    @staticmethod
    def stages(count: int) -> range:
        """The two coarsest, never the finest."""
        return non_local_stages(count)

    def forward(self, maps: Tensor, coming: Tensor | None) -> Tensor:
        seen = in_bins(maps, tuple(min(self.most, edge) for edge in maps.shape[2:]))
        queries = self.query(maps).flatten(2).transpose(1, 2) / sqrt(self.hidden)
        matches = (queries @ self.key(seen).flatten(2)).softmax(-1).to(queries.dtype)
        found = (matches @ self.value(seen).flatten(2).transpose(1, 2)).transpose(1, 2)
        return maps + self.out(found.reshape(len(maps), self.hidden, *maps.shape[2:]))


def _mean(maps: Tensor) -> Tensor:
    """(B, channels), summed in float32."""
    return maps.mean(tuple(range(2, maps.dim())), dtype=torch.float32)


def _scaled(maps: Tensor, scores: Tensor) -> Tensor:
    """``scores`` (B, channels)."""
    weights = scores.sigmoid().to(maps.dtype)
    return maps * weights.view(*weights.shape, *(1,) * (maps.dim() - 2))


class Attention(Protocol):
    """Makes what weighs the maps of a stage of so many channels and such a kernel."""

    def __call__(self, channels: int, kernel: tuple[int, ...]) -> nn.Module: ...

    def stages(self, count: int) -> range:
        """Of so many stages those that have it."""


ATTENTION: dict[str, Attention] = {"spatial": Spatial, "channel": Channel, "mixed": Mixed, "non_local": NonLocal}
