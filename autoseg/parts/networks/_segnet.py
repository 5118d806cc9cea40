"""The torch side of segnet: pooling that remembers places, and unpooling."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

from torch import Tensor, nn

from ._unet import CONVOLUTION, Block, Scales, dropout, laid_out, stage, start

if TYPE_CHECKING:
    from .segnet import Spec


class SegNet(Scales):
    """Lists are indexed by stage, the finest is 0."""

    def __init__(self, spec: Spec, channels: int, heads: int) -> None:
        super().__init__()
        features, kernels, ones = spec.features, spec.kernels, (1,) * spec.dimensions
        self.strides = spec.strides[1:]
        self.encoder = nn.ModuleList(
            stage(inputs, outputs, kernel, ones, blocks)
            for inputs, outputs, kernel, blocks in zip((channels, *features), features, kernels, spec.blocks_encoder)
        )
        self.narrow = nn.ModuleList(
            Block(coarse, fine, kernel, ones) for fine, coarse, kernel in zip(features, features[1:], kernels[1:])
        )
        self.decoder = nn.ModuleList(
            stage(count, count, kernel, ones, blocks)
            for count, kernel, blocks in zip(features, kernels, spec.blocks_decoder)
        )
        self.heads = nn.ModuleList(CONVOLUTION[spec.dimensions](count, heads, 1) for count in features[:-1])
        self.dropout = dropout(spec)
        self.apply(start)

    def _up(self, images: Tensor) -> list[Tensor]:
        maps, places = self.encoder[0](laid_out(images)), []
        for encode, drop, stride in zip([*self.encoder][1:], [*self.dropout][1:], self.strides):
            maps, lay = pooled(maps, stride)
            places.append(lay)
            maps = drop(encode(maps))
        decoded = []
        for level in reversed(range(len(self.decoder))):
            maps = unpooled(self.narrow[level](maps), places.pop(), self.strides[level])
            maps = self.dropout[level](self.decoder[level](maps))
            decoded.append(maps)
        return decoded


def pooled(maps: Tensor, block: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The maximum of each block of so many voxels, and its place in the block; both (B, channels, *(size / block)).

    torch's pooling has no deterministic gradient on a GPU, its unpooling is not deterministic at all.
    """
    dimensions = len(block)
    for axis, length in reversed([*enumerate(block)]):
        maps = maps.unflatten(2 + axis, (-1, length))
    # (B, channels, z, in block, y, in block, x, in block): voxels of a block come first
    inside, blocks = [3 + 2 * axis for axis in range(dimensions)], [2 + 2 * axis for axis in range(dimensions)]
    maxima = maps.permute(*inside, 0, 1, *blocks).flatten(0, dimensions - 1).max(0)
    return maxima.values, maxima.indices


def unpooled(maps: Tensor, places: Tensor, block: Sequence[int]) -> Tensor:
    """Each value at its place of a block of so many voxels, which is 0 elsewhere: (B, channels, *(size * block))."""
    dimensions = len(block)
    voxels = maps.new_zeros(prod(block), *maps.shape).scatter(0, places[None], maps[None]).unflatten(0, tuple(block))
    pairs = [dim for axis in range(dimensions) for dim in (dimensions + 2 + axis, axis)]
    spread = voxels.permute(dimensions, dimensions + 1, *pairs)
    return spread.reshape(*maps.shape[:2], *(edge * length for edge, length in zip(maps.shape[2:], block)))
