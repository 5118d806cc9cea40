"""The torch side of deeplabv3plus: atrous spatial pyramid pooling, and a decoder of two convolutions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ._interpolation import resized
from ._residual_unet import residual_encoder
from ._unet import CONVOLUTION, Block, InstanceNorm, activate, encoded, logits_of, stage, start

if TYPE_CHECKING:
    from .deeplabv3plus import Spec


class AtrousBlock(Block):
    """A block whose kernel sees voxels ``rate`` apart."""

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, ...], rate: tuple[int, ...]) -> None:
        super().__init__(inputs, outputs, kernel, (1,) * len(kernel))
        padding = tuple(size // 2 * step for size, step in zip(kernel, rate))
        self.convolution = CONVOLUTION[len(kernel)](inputs, outputs, kernel, padding=padding, dilation=rate)


class PyramidPooling(nn.Module):
    """Atrous spatial pyramid pooling: what several fields of view say of each voxel, joined."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        convolution, ones = CONVOLUTION[spec.dimensions], (1,) * spec.dimensions
        inputs, width, kernel = spec.features[-1], spec.width, spec.kernels[-1]
        views = [Block(inputs, width, ones, ones), *(AtrousBlock(inputs, width, kernel, rate) for rate in spec.rates)]
        self.views = nn.ModuleList(views)
        self.pooled = convolution(inputs, width, 1)
        self.mix = convolution(len(views) * width, width, 1)
        self.mix_pooled = convolution(width, width, 1, bias=False)
        self.norm = InstanceNorm(width)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, features, *size) to (B, width, *size)."""
        mean = activate(self.pooled(maps.mean([*range(2, maps.dim())], keepdim=True)))
        local = self.norm(self.mix(torch.cat([view(maps) for view in self.views], 1)))
        return activate(local + self.mix_pooled(mean))  # to be added before the norm it would have to differ somewhere


class DeepLabV3Plus(nn.Module):
    """One scale of logits."""

    def __init__(self, spec: Spec, channels: int, heads: int) -> None:
        super().__init__()
        convolution, ones = CONVOLUTION[spec.dimensions], (1,) * spec.dimensions
        self.low_level, width = spec.low_level, spec.width
        self.encoder = nn.ModuleList(residual_encoder(spec, channels))
        self.pyramid = PyramidPooling(spec)
        self.reduce = Block(spec.features[self.low_level], spec.low_level_width, ones, ones)
        self.decoder = stage(width + spec.low_level_width, width, spec.kernels[self.low_level], ones, 2)
        self.head = convolution(width, heads, 1)
        self.apply(start)

    def forward(self, images: Tensor) -> list[Tensor]:
        skips = encoded(self.encoder, images)
        low, deep = self.reduce(skips[self.low_level]), self.pyramid(skips.pop())
        del skips
        decoded = self.decoder(torch.cat((resized(deep, low.shape[2:]), low), 1))
        return [resized(logits_of(self.head, decoded), images.shape[2:])]
