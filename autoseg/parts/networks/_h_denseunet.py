"""The torch side of h_denseunet: dense stages, separable convolutions, and what fuses both halves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ._normalisation import InstanceNorm
from ._slices import slices_of, volumes_of, with_neighbours
from ._stages import UNetSpec
from ._unet import CONVOLUTION, Block, UNet, activate, logits_of, stage, start

if TYPE_CHECKING:
    from .h_denseunet import Spec

Size = tuple[int, ...]
MakeBlock = Callable[[int, int, Size, Size], nn.Module]
"""Of inputs, outputs, kernel and stride."""


class HDenseUNet(UNet):
    """The 3-D half; ``slices`` is the 2-D one, ``fusion`` comes after both."""

    def __init__(self, spec: Spec, channels: int, heads: int) -> None:
        block = SeparableBlock if spec.separable else Block
        decoder = separable_stage if spec.separable else stage
        super().__init__(spec, dense_stages(spec, channels + heads, spec.growth, block), heads, decoder)
        flat = spec.of_slices
        self.slices = UNet(flat, dense_stages(flat, 3 * channels, spec.growth), heads)
        self.slices.heads = self.slices.heads[:1]
        self.fusion = block(spec.features[0], spec.features[0], spec.kernels[0], (1,) * 3)
        self.fusion.apply(start)

    def forward(self, images: Tensor) -> list[Tensor]:
        of_slices, seen = self._seen_in_slices(images)
        decoded = self._fused(images, of_slices, seen)
        logits = [logits_of(head, maps) for head, maps in zip(self.heads, decoded[::-1])]
        return [logits[0], seen, *logits[1:]]

    def _up(self, images: Tensor) -> list[Tensor]:
        return self._fused(images, *self._seen_in_slices(images))

    def _seen_in_slices(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The finest maps of the 2-D half (B, features, z, y, x), and the logits that it makes of them."""
        depth, maps = images.shape[2], self.slices.maps(slices_of(with_neighbours(images)))
        return volumes_of(maps, depth), volumes_of(logits_of(self.slices.last, maps), depth).contiguous()

    def _fused(self, images: Tensor, of_slices: Tensor, seen: Tensor) -> list[Tensor]:
        decoded = super()._up(torch.cat((images, seen.sigmoid()), 1))
        decoded[-1] = self.fusion(decoded[-1] + of_slices)
        return decoded


class DenseStage(nn.Module):
    """Each layer sees all maps before it, side by side, and adds ``growth`` of its own (Huang et al. 2017).

    It begins with half of the maps that it gives, by a convolution that carries the stride, and ends with one of
    single voxels.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: Size, stride: Size, layers: int, growth: int, block: MakeBlock
    ) -> None:
        super().__init__()
        ones, first = (1,) * len(kernel), max(1, outputs // 2)
        self.enter = block(inputs, first, kernel, stride)
        self.layers = nn.ModuleList(block(first + growth * before, growth, kernel, ones) for before in range(layers))
        self.leave = Block(first + growth * layers, outputs, ones, ones)

    def forward(self, maps: Tensor) -> Tensor:
        maps = self.enter(maps)
        for layer in self.layers:
            maps = torch.cat((maps, layer(maps)), 1)
        result: Tensor = self.leave(maps)
        return result


def dense_stages(spec: UNetSpec, channels: int, growth: int, block: MakeBlock = Block) -> Iterator[nn.Module]:
    """The way down of one half."""
    down: Sequence[Sequence[int]] = [(channels, *spec.features), spec.features, spec.blocks_encoder]
    for inputs, outputs, layers, kernel, stride in zip(*down, spec.kernels, spec.strides):
        yield DenseStage(inputs, outputs, kernel, stride, layers, growth, block)


class SeparableBlock(nn.Module):
    """A convolution of every map by itself and one of single voxels (Chollet 2017), then norm and activation."""

    def __init__(self, inputs: int, outputs: int, kernel: Size, stride: Size) -> None:
        super().__init__()
        convolution, padding = CONVOLUTION[len(kernel)], tuple(size // 2 for size in kernel)
        self.each = convolution(inputs, inputs, kernel, stride, padding, groups=inputs, bias=False)
        self.mix = convolution(inputs, outputs, 1)
        self.norm = InstanceNorm(outputs)

    def forward(self, maps: Tensor) -> Tensor:
        return activate(self.norm(self.mix(self.each(maps))))


def separable_stage(inputs: int, outputs: int, kernel: Size, stride: Size, blocks: int) -> nn.Sequential:
    """As ``stage``."""
    first = SeparableBlock(inputs, outputs, kernel, stride)
    return nn.Sequential(
        first, *(SeparableBlock(outputs, outputs, kernel, (1,) * len(kernel)) for _ in range(blocks - 1))
    )
