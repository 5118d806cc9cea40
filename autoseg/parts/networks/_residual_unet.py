"""The torch side of residual_unet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, avg_pool3d

from ._unet import CONVOLUTION, Block, InstanceNorm, UNet, activate

if TYPE_CHECKING:
    from ._stages import EncoderSpec
    from .residual_unet import Spec


class AveragePool(nn.Module):
    """Average pooling without overlap.

    On a GPU torch has no deterministic gradient of its ``avg_pool3d``: there it is the mean over blocks.
    """

    def __init__(self, block: tuple[int, ...]) -> None:
        super().__init__()
        self.block = block

    def forward(self, maps: Tensor) -> Tensor:
        if len(self.block) == 2:
            return avg_pool2d(maps, self.block)
        return avg_pool3d(maps, self.block) if maps.device.type == "cpu" else block_means(maps, self.block)


def block_means(maps: Tensor, block: Sequence[int]) -> Tensor:
    """Means (B, channels, z, y, x) over blocks of so many voxels; what is left at the ends counts nowhere.

    Equal to average pooling up to rounding. On a processor it takes two to eight times as long.
    """
    for axis in reversed(range(len(block))):
        count = maps.shape[2 + axis] // block[axis]
        maps = maps.narrow(2 + axis, 0, count * block[axis]).unflatten(2 + axis, (count, block[axis]))
    return maps.mean(tuple(range(3, maps.dim(), 2)))


class ResidualBlock(nn.Module):
    """Two convolutions whose normalised result is added to the input, then leaky ReLU.

    Where the input is larger or has other channels, it is averaged over the stride and projected (He et al. 2019,
    ResNet-D), each only where needed.
    """

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, ...], stride: tuple[int, ...]) -> None:
        super().__init__()
        dimensions, padding = len(kernel), tuple(size // 2 for size in kernel)
        self.first = Block(inputs, outputs, kernel, stride)
        self.convolution = CONVOLUTION[dimensions](outputs, outputs, kernel, padding=padding)
        self.norm = InstanceNorm(outputs)
        self.shortcut = nn.Sequential()
        if max(stride) > 1:
            self.shortcut.append(AveragePool(stride))
        if inputs != outputs:
            self.shortcut.append(CONVOLUTION[dimensions](inputs, outputs, 1, bias=False))
            self.shortcut.append(InstanceNorm(outputs))

    def forward(self, maps: Tensor) -> Tensor:
        return activate(self.norm(self.convolution(self.first(maps))) + self.shortcut(maps))


def residual_encoder(spec: EncoderSpec, channels: int) -> list[nn.Sequential]:
    """The stages of the way down, with the stem in the finest."""
    ones, finest = (1,) * spec.dimensions, spec.features[0]
    encoder, inputs = [], finest
    for outputs, kernel, stride, blocks in zip(spec.features, spec.kernels, spec.strides, spec.blocks_encoder):
        first = ResidualBlock(inputs, outputs, kernel, stride)
        rest = (ResidualBlock(outputs, outputs, kernel, ones) for _ in range(blocks - 1))
        encoder.append(nn.Sequential(first, *rest))
        inputs = outputs
    encoder[0].insert(0, Block(channels, finest, spec.kernels[0], ones))  # the stem
    return encoder


def residual_unet(spec: Spec, channels: int, heads: int) -> UNet:
    """See ``residual_unet.Spec.build``."""
    network = UNet(spec, residual_encoder(spec, channels), heads)
    for module in network.modules():
        if isinstance(module, ResidualBlock):  # every block starts as its shortcut, as in nnU-Net v2 2.8.1
            nn.init.zeros_(module.norm.weight)
    return network
