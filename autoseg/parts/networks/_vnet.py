"""The torch side of vnet: MONAI's stages, whose own V-Net has one width and depth only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn.functional import pad

from ._monai import Headed

if TYPE_CHECKING:
    from .vnet import Spec

ACTIVATION = ("elu", {"inplace": True})


def vnet(spec: Spec, channels: int, padded: int, heads: int) -> Headed:
    """See ``vnet.Spec.build``."""
    return Headed(Stages(spec, padded, padded - channels), spec.dimensions, 2 * spec.width, heads)


class Stages(nn.Module):
    """All but the last layer."""

    def __init__(self, spec: Spec, channels: int, added: int) -> None:
        """``added`` channels of zeros are appended to images, which then have ``channels``."""
        super().__init__()
        from monai.networks.nets.vnet import DownTransition, InputTransition, UpTransition

        axes, widths = spec.dimensions, [spec.width << stage for stage in range(len(spec.convolutions))]
        self.added = added
        self.first = InputTransition(axes, channels, spec.width, ACTIVATION)
        self.down = nn.ModuleList(
            DownTransition(axes, width, count, ACTIVATION) for width, count in zip(widths, spec.convolutions[1:])
        )
        coarse, stages = widths[-1], []
        for level, (width, count) in enumerate([*zip(widths, spec.convolutions)][-2::-1]):
            dropout = (spec.dropout if level < 2 else None, spec.dropout)
            stages.append(UpTransition(axes, coarse, 2 * width, count, ACTIVATION, dropout, axes))
            coarse = 2 * width
        self.up = nn.ModuleList(stages)

    def forward(self, images: Tensor) -> Tensor:
        """The finest feature maps (B, 2 * width, *patch)."""
        axes = images.dim() - 2
        skips = [self.first(pad(images, (0,) * 2 * axes + (0, self.added)) if self.added else images)]
        for stage in self.down:
            skips.append(stage(skips[-1]))
        maps = skips.pop()
        for stage in self.up:
            maps = stage(maps, skips.pop())
        return maps
