"""A convolution that looks up each entry of its kernel at an offset of its own (Dai et al. 2017, arXiv 1703.06211)."""

from __future__ import annotations

from itertools import product
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample
from torch.utils.checkpoint import checkpoint

from ._transformer import positions
from ._unet import CONVOLUTION, SLOPE

Size = tuple[int, ...]
FARTHEST = 3.0  # voxels of a stage that an offset comes near to: where all lie beyond the border, nothing is learned


class DeformableConvolution(nn.Module):
    """A convolution without stride whose kernel's entries are looked up beside their places; beyond the border is 0.

    Between voxels values are interpolated linearly. With offsets of 0, as at first, it is the plain convolution.
    """

    def __init__(self, inputs: int, outputs: int, kernel: Size) -> None:
        super().__init__()
        self.kernel = kernel
        padding = tuple(size // 2 for size in kernel)
        self.offsets = CONVOLUTION[len(kernel)](inputs, len(kernel) * prod(kernel), kernel, padding=padding)
        self.weight = nn.Parameter(torch.empty(outputs, inputs, prod(kernel)))
        self.bias = nn.Parameter(torch.zeros(outputs))
        if not self.weight.is_meta:
            nn.init.kaiming_normal_(self.weight, a=SLOPE)

    def forward(self, maps: Tensor) -> Tensor:
        offsets = self.offsets(maps).float().unflatten(1, (-1, maps.dim() - 2))
        return self.at(maps, offsets / (1 + offsets.abs() / FARTHEST))

    def at(self, maps: Tensor, offsets: Tensor) -> Tensor:
        """(B, outputs, *size) with ``offsets`` (B, entries, axes, *size) in voxels, entries in the kernel's order."""
        entries = list(product(*(range(-(size // 2), size // 2 + 1) for size in self.kernel)))
        found = self.bias.float()[:, None]
        for number, entry in enumerate(entries):
            given = maps, offsets[:, number], self.weight[..., number], entry
            if torch.is_grad_enabled():  # what is looked up is looked up again, for there are many entries
                part = checkpoint(_entry, *given, use_reentrant=False, preserve_rng_state=False)
            else:
                part = _entry(*given)
            found = found + part
        return found.to(maps.dtype).unflatten(2, maps.shape[2:])


def _entry(maps: Tensor, offsets: Tensor, weight: Tensor, entry: Size) -> Tensor:
    """What one entry of the kernel adds: (B, outputs, voxels). Half precision would not tell places apart."""
    size = maps.shape[2:]
    places = positions(size, maps.device) + torch.tensor(entry, device=maps.device)
    places = places.unflatten(0, size) + offsets.movedim(1, -1)
    # Centres of voxels have whole numbers here; grid_sample counts from -1 to 1, from border to border, x first.
    grid = ((2 * places + 1) / torch.tensor(size, device=maps.device) - 1).flip(-1)
    looked_up = grid_sample(maps.float(), grid, padding_mode="zeros", align_corners=False)
    return (weight @ looked_up.flatten(2)).float()


def without_offsets(network: nn.Module) -> None:
    """All offsets are 0 from now on, until they are learned: the convolutions are plain ones."""
    for module in network.modules():
        if isinstance(module, DeformableConvolution):
            nn.init.zeros_(module.offsets.get_parameter("weight"))
