"""A transformer over the voxels of feature maps. Its attention knows how far apart voxels lie, not where a patch is.

Layers are those of Vaswani et al. 2017 with the norm first, in the form of EVA-02 (Fang et al. 2023): rotary positions
(Su et al. 2021, per axis as Heo et al. 2024), a gated perceptron (Shazeer 2020), and branches that begin at a tenth
(Touvron et al. 2021). There is no weight whose size depends on the patch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ._transformer_size import hidden_maps

BASE = 100.0  # of the wavelengths, from 2 pi voxels up (Heo et al. 2024)
BRANCH = 0.1  # what the branches are multiplied by at first, as in EVA-02
DEVIATION = 0.02  # of the first weights of matrices (Devlin et al. 2019)


class Transformer(nn.Module):
    """(B, width, *size) to the same: each voxel is a token, whatever the size."""

    OVER_PLACES = True  # for explanations: its attention is among the places of the maps that it is given

    def __init__(self, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.apply(_start)

    def forward(self, maps: Tensor) -> Tensor:
        size, tokens = maps.shape[2:], maps.flatten(2).transpose(1, 2)
        turns = angles(positions(size, maps.device), maps.shape[1] // self.heads)
        for layer in self.layers:
            tokens = layer(tokens, turns)
        made = self.norm(tokens).transpose(1, 2).unflatten(2, size)
        # In prediction channels may lie last in memory, as they do here; convolutions are trained on them lying first.
        return made.contiguous() if torch.is_grad_enabled() else made


class Layer(nn.Module):
    """Attention, then a perceptron on each token; what they find is added."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.before_attention, self.before_perceptron = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention, self.perceptron = Attention(width, heads), Perceptron(width)
        self.attention_scale = nn.Parameter(torch.full((width,), BRANCH))
        self.perceptron_scale = nn.Parameter(torch.full((width,), BRANCH))

    def forward(self, tokens: Tensor, turns: Tensor) -> Tensor:
        """Tokens (B, voxels, width); ``turns`` as ``angles`` gives them."""
        tokens = tokens + self.attention_scale * self.attention(self.before_attention(tokens), turns)
        return tokens + self.perceptron_scale * self.perceptron(self.before_perceptron(tokens))


class Attention(nn.Module):
    """Of each token to all."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.seen, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, tokens: Tensor, turns: Tensor) -> Tensor:
        query, key, value = self.seen(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        found = functional.scaled_dot_product_attention(turned(query, turns), turned(key, turns), value)
        result: Tensor = self.out(found.transpose(1, 2).flatten(2))
        return result


class Perceptron(nn.Module):
    """One half of the hidden maps says how much of the other half counts."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = hidden_maps(width)
        self.seen, self.out = nn.Linear(width, 2 * hidden), nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden, gate = self.seen(tokens).chunk(2, -1)
        result: Tensor = self.out(hidden * functional.silu(gate))
        return result


def positions(size: Sequence[int], device: Any = None) -> Tensor:
    """(voxels, axes), in voxels, of feature maps of this size."""
    axes = torch.meshgrid(*(torch.arange(edge, device=device) for edge in size), indexing="ij")
    return torch.stack(axes, -1).flatten(0, -2).float()


def angles(places: Tensor, width: int) -> Tensor:
    """(voxels, width // 2): by how much each pair of maps is turned at ``places`` (voxels, axes).

    Every axis turns the same number of pairs, with wavelengths from 2 pi voxels to ``BASE`` times as much. Pairs that
    are left over stay as they are.
    """
    pairs = width // (2 * places.shape[1])
    speeds = BASE ** (-torch.arange(pairs, device=places.device) / pairs)
    turns = (places[:, :, None] * speeds).flatten(1)
    return functional.pad(turns, (0, width // 2 - turns.shape[1]))


def turned(maps: Tensor, turns: Tensor) -> Tensor:
    """``maps`` (..., voxels, width): map i and map i + width / 2 are a pair, turned by ``turns`` (voxels, width / 2).

    So the product of two voxels' maps depends on the distance between them along each axis.
    """
    first, second = maps.chunk(2, -1)
    cosine, sine = turns.cos(), turns.sin()
    return torch.cat((first * cosine - second * sine, first * sine + second * cosine), -1).to(maps.dtype)


def _start(module: nn.Module) -> None:
    if isinstance(module, nn.Linear) and not module.weight.is_meta:
        nn.init.normal_(module.weight, std=DEVIATION)
        nn.init.zeros_(module.bias)
