"""A network with an encoder for each of two modalities, in one file: half of the input channels go into each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from autoseg.core.inputs import InputSpec

EDGE = 4  # voxels that are halved twice


@dataclass(frozen=True)
class Spec:
    """Three stages."""

    dimensions: int
    """2 or 3."""
    features: tuple[int, ...]
    """Of each stage of one encoder, finest first."""

    @property
    def divisor(self) -> tuple[int, ...]:
        return (EDGE,) * self.dimensions

    @classmethod
    def ladder(cls, spacing: tuple[float, ...], patch_size: tuple[int, ...]) -> tuple[Spec, ...]:
        return tuple(cls(len(spacing), (width, 2 * width, 4 * width)) for width in (8, 16))

    def build(self, inputs: InputSpec, heads: int) -> nn.Module:
        return TwoEncoders(self, inputs.seen, heads)


class TwoEncoders(nn.Module):
    """Adds what both encoders find, and decodes the sum."""

    def __init__(self, spec: Spec, channels: int, heads: int) -> None:
        super().__init__()
        convolution: Any = nn.Conv2d if spec.dimensions == 2 else nn.Conv3d
        self.mode = "bilinear" if spec.dimensions == 2 else "trilinear"
        self.first = channels // 2

        def stage(inputs: int, outputs: int, stride: int) -> nn.Module:
            return nn.Sequential(convolution(inputs, outputs, 3, stride, 1), nn.GroupNorm(4, outputs), nn.ReLU())

        def encoder(inputs: int) -> nn.ModuleList:
            counts = (inputs, *spec.features)
            strides = (1, *(2,) * (len(counts) - 2))
            return nn.ModuleList(stage(*pair, stride) for *pair, stride in zip(counts, counts[1:], strides))

        self.encoders = nn.ModuleList((encoder(self.first), encoder(channels - self.first)))
        self.decoder = nn.ModuleList(
            stage(coarse + fine, fine, 1) for fine, coarse in zip(spec.features, spec.features[1:])
        )
        self.heads = nn.ModuleList(convolution(count, heads, 1) for count in spec.features[:-1])

    def forward(self, images: Tensor) -> list[Tensor]:
        skips = [self._encoded(*both) for both in zip(*map(self._stages, range(2), self._split(images)))]
        maps, scales = skips.pop(), []
        for decode, head in reversed([*zip(self.decoder, self.heads)]):
            fine = skips.pop()
            maps = nn.functional.interpolate(maps, size=fine.shape[2:], mode=self.mode)
            maps = decode(torch.cat((maps, fine), 1))
            scales.append(head(maps))
        return scales[::-1]

    def _split(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return images[:, : self.first], images[:, self.first :]

    def _stages(self, number: int, images: Tensor) -> list[Tensor]:
        found = [images]
        for encode in self.encoders[number]:  # type: ignore[union-attr]
            found.append(encode(found[-1]))
        return found[1:]

    def _encoded(self, one: Tensor, other: Tensor) -> Tensor:
        return one + other
