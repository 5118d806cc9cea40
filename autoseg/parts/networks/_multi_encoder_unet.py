"""The torch side of multi_encoder_unet: several encoders, and what fuses their feature maps stage by stage."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ._unet import CONVOLUTION, UNet, activate, laid_out, stage, start

if TYPE_CHECKING:
    from ...core.inputs import InputSpec
    from .multi_encoder_unet import Spec

HIDDEN = 4  # the network that weighs the encoders has so many times fewer feature maps than these


class MultiEncoderUNet(UNet):
    """``encoder`` holds the stages of each encoder, ``fusions`` what fuses each stage."""

    def __init__(self, spec: Spec, inputs: InputSpec, heads: int) -> None:
        groups, slices = spec.groups_of(inputs), inputs.image.slices
        further = [(inputs.image.seen, inputs.seen)] * (inputs.seen > inputs.image.seen)
        seen = [[*((slices * one, slices * (one + 1)) for one in group), *further] for group in groups]
        own = spec.own_features(len(groups))

        def encoder(channels: int) -> nn.ModuleList:
            down = zip((channels, *own), own, spec.kernels, spec.strides, spec.blocks_encoder)
            return nn.ModuleList(stage(*choices) for choices in down)

        super().__init__(spec, (encoder(sum(end - begin for begin, end in parts)) for parts in seen), heads)
        self.seen = seen
        """Of the channels that come in, the first and the one after the last of each part that an encoder sees."""
        kind = FUSIONS[spec.fusion]
        self.fusions = nn.ModuleList(
            kind(len(groups), count, width, spec.dimensions) for count, width in zip(own, spec.features)
        )
        self.fusions.apply(start)

    def _down(self, images: Tensor) -> list[Tensor]:
        maps = [laid_out(torch.cat([images[:, begin:end] for begin, end in parts], 1)) for parts in self.seen]
        skips = []
        # stage by stage: of each, one set of maps is kept for the decoder
        for level, (fuse, drop) in enumerate(zip(self.fusions, self.dropout)):
            maps = [encoder[level](each) for encoder, each in zip(self.encoder, maps)]  # type: ignore[index]
            skips.append(drop(fuse(maps)))
        return skips


class Concatenation(nn.Module):
    """All maps of all encoders."""

    def __init__(self, encoders: int, count: int, width: int, dimensions: int) -> None:
        super().__init__()
        self.mix = CONVOLUTION[dimensions](encoders * count, width, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """As many as there are encoders, each (B, count, *size), to (B, width, *size)."""
        fused: Tensor = self.mix(torch.cat(maps, 1))
        return fused


class MeanMaximum(nn.Module):
    """Mean and maximum over the encoders, each voxel and feature map for itself."""

    def __init__(self, encoders: int, count: int, width: int, dimensions: int) -> None:
        super().__init__()
        self.mix = CONVOLUTION[dimensions](2 * count, width, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """See ``Concatenation``. The order of the encoders makes no difference."""
        fused: Tensor = self.mix(torch.cat((_sum(maps) / len(maps), reduce(torch.maximum, maps)), 1))
        return fused


class Attention(nn.Module):
    """A mean over the encoders with weights at each voxel, which are a softmax over their scores.

    The score of an encoder comes from its own maps and the mean of all, by two convolutions of single voxels that all
    encoders share: what it is judged by is whether it stands out there.
    """

    def __init__(self, encoders: int, count: int, width: int, dimensions: int) -> None:
        super().__init__()
        convolution, hidden = CONVOLUTION[dimensions], max(1, count // HIDDEN)
        self.own = convolution(count, hidden, 1)
        self.all = convolution(count, hidden, 1, bias=False)
        self.score = convolution(hidden, 1, 1)
        self.mix = convolution(count, width, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """See ``Concatenation``. The order of the encoders makes no difference."""
        beside = self.all(_sum(maps) / len(maps))
        scores = torch.cat([self.score(activate(self.own(each) + beside)) for each in maps], 1)
        weights = scores.softmax(1).to(maps[0].dtype).split(1, 1)
        fused: Tensor = self.mix(_sum(weight * each for weight, each in zip(weights, maps)))  # one product at a time
        return fused


def _sum(maps: Iterable[Tensor]) -> Tensor:
    return reduce(torch.add, maps)


FUSIONS: dict[str, type[Concatenation] | type[MeanMaximum] | type[Attention]] = {
    "concatenation": Concatenation,
    "mean_maximum": MeanMaximum,
    "attention": Attention,
}
