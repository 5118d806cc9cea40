"""The torch side of saunet: the shape stream with its gates, and dual attention."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from ._interpolation import resized
from ._residual_unet import ResidualBlock
from ._unet import CONVOLUTION, Block, UNet, activate, stage, start

if TYPE_CHECKING:
    from ...core.inputs import InputSpec
    from .saunet import Spec

REDUCTION = 16  # feature maps to what weighs them (Hu et al. 2018)
SQUARED = 1e-6  # is added to squares: where nothing changes, a root of 0 has no gradient


class SAUNet(UNet):
    """A U-Net whose finest maps are joined with the attention of a ``shape`` stream."""

    def __init__(self, spec: Spec, inputs: InputSpec, heads: int) -> None:
        features, kernel, ones = spec.features, spec.kernels[0], (1,) * spec.dimensions
        down = zip((inputs.seen, *features), features, spec.kernels, spec.strides, spec.blocks_encoder)
        super().__init__(spec, (stage(*choices) for choices in down), heads, attentive_stage)
        self.of_image = inputs.image.seen
        """Channels that are an image; others have no edges to be looked for."""
        self.shape = ShapeStream(spec)
        self.expand = Block(1, spec.shape_features[0], kernel, ones)
        self.join = Block(features[0] + spec.shape_features[0], features[0], kernel, ones)
        for added in (self.shape, self.expand, self.join):
            added.apply(start)

    def _up(self, images: Tensor) -> list[Tensor]:
        skips = self._down(images)
        attention = self.expand(self.shape(skips, steepness(images[:, : self.of_image])))
        decoded = self._decoded(skips)
        decoded[-1] = self.join(torch.cat((decoded[-1], attention), 1))
        return decoded


class ShapeStream(nn.Module):
    """What lies at a boundary, at the voxels of the image."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        convolution, ones = CONVOLUTION[spec.dimensions], (1,) * spec.dimensions
        counts = spec.shape_features
        self.enter = convolution(spec.features[0], counts[0], 1)
        self.gates = nn.ModuleList(
            Gate(count, texture, spec.dimensions) for count, texture in zip(counts[:-1], spec.features[1:])
        )
        self.refine = nn.ModuleList(
            ResidualBlock(count, after, spec.kernels[0], ones) for count, after in pairwise(counts)
        )
        self.edges = convolution(counts[-1], 1, 1)
        self.attend = convolution(2, 1, 1)

    def forward(self, texture: list[Tensor], steep: Tensor) -> Tensor:
        """Attention (B, 1, *patch), from the U-Net's maps, finest first, and ``steep`` (B, 1, *patch), of the image."""
        shape = self.enter(texture[0])
        for gate, refine, coarser in zip(self.gates, self.refine, texture[1:]):
            shape = refine(shape * gate(shape, coarser))
        edges = self.edges(shape).sigmoid()
        attention: Tensor = self.attend(torch.cat((edges, steep.to(edges.dtype)), 1)).sigmoid()
        return attention


class Gate(nn.Module):
    """How much of the shape stream passes at each voxel."""

    def __init__(self, shape: int, texture: int, dimensions: int) -> None:
        super().__init__()
        self.texture = CONVOLUTION[dimensions](texture, 1, 1)
        self.opening = CONVOLUTION[dimensions](shape + 1, 1, 1)

    def forward(self, shape: Tensor, texture: Tensor) -> Tensor:
        """(B, 1, *size of shape), from 0 to 1."""
        seen = resized(self.texture(texture), shape.shape[2:])
        opening: Tensor = self.opening(torch.cat((shape, seen), 1)).sigmoid()
        return opening


class DualAttention(nn.Module):
    """Multiplies maps by 1 + a weight of each voxel, and by a weight of each map."""

    def __init__(self, count: int, dimensions: int) -> None:
        super().__init__()
        convolution, half, few = CONVOLUTION[dimensions], -(-count // 2), -(-count // REDUCTION)
        self.narrow, self.voxels = convolution(count, half, 1), convolution(half, 1, 1)
        self.reduce, self.channels = convolution(count, few, 1), convolution(few, count, 1)

    def forward(self, maps: Tensor) -> Tensor:
        means = maps.mean([*range(2, maps.dim())], keepdim=True)
        channels = self.channels(activate(self.reduce(means))).sigmoid()
        voxels = self.voxels(activate(self.narrow(maps))).sigmoid()
        weighed: Tensor = maps * channels * (1 + voxels)
        return weighed


def attentive_stage(
    inputs: int, outputs: int, kernel: tuple[int, ...], stride: tuple[int, ...], blocks: int
) -> nn.Sequential:
    """Convolution blocks, and dual attention."""
    return nn.Sequential(*stage(inputs, outputs, kernel, stride, blocks), DualAttention(outputs, len(kernel)))


def steepness(images: Tensor) -> Tensor:
    """How steeply intensities change at each voxel, (B, 1, *patch), per voxel: the gradient's length.

    Squares are averaged over the differences to both neighbours along an axis, and over channels.
    """
    squares = torch.full_like(images[:, :1], SQUARED)
    for axis in range(2, images.dim()):
        steps = images.diff(dim=axis).square().mean(1, keepdim=True)
        before = [0, 0] * (images.dim() - 1 - axis)
        squares = squares + (functional.pad(steps, [*before, 1, 0]) + functional.pad(steps, [*before, 0, 1])) / 2
    return squares.sqrt()
