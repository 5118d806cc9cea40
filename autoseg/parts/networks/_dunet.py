"""The torch side of dunet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from ._deformable import DeformableConvolution, without_offsets
from ._normalisation import InstanceNorm
from ._unet import Block, UNet, activate, stage

if TYPE_CHECKING:
    from .dunet import Spec

Size = tuple[int, ...]


class DeformableBlock(nn.Module):
    """Deformable convolution, instance normalisation, leaky ReLU."""

    def __init__(self, maps: int, kernel: Size) -> None:
        super().__init__()
        self.convolution = DeformableConvolution(maps, maps, kernel)
        self.norm = InstanceNorm(maps)

    def forward(self, maps: Tensor) -> Tensor:
        return activate(self.norm(self.convolution(maps)))


def deformable_stage(inputs: int, outputs: int, kernel: Size, stride: Size, blocks: int) -> nn.Sequential:
    """As ``stage``: the first block is plain and carries the stride."""
    first = Block(inputs, outputs, kernel, stride)
    return nn.Sequential(first, *(DeformableBlock(outputs, kernel) for _ in range(blocks - 1)))


def dunet(spec: Spec, channels: int, heads: int) -> UNet:
    """See ``dunet.Spec.build``."""

    kinds = [deformable_stage if level >= spec.deformable else stage for level in range(len(spec.features))]
    down = zip((channels, *spec.features), spec.features, spec.kernels, spec.strides, spec.blocks_encoder)
    encoder = [kind(*choices) for kind, choices in zip(kinds, down)]
    up = iter(kinds)  # the stages of the decoder are made in the same order, the finest first
    network = UNet(spec, encoder, heads, lambda *choices: next(up)(*choices))
    without_offsets(network)
    return network
