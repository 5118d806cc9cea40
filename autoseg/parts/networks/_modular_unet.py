"""The torch side of modular_unet: what the switches choose, put together."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ._attention import ATTENTION, NonLocal
from ._blocks import BLOCKS, Residual
from ._context import CONTEXT
from ._deformable import without_offsets
from ._norms import ACTIVATIONS, NORMS, Style
from ._unet import UNet, start

if TYPE_CHECKING:
    from .modular_unet import Spec


class ModularUNet(UNet):
    """With all switches as by default, its weights are called as those of plain_unet."""

    def __init__(self, spec: Spec, channels: int, heads: int) -> None:
        style = Style(NORMS[spec.norm], ACTIVATIONS[spec.activation])
        down = zip((channels, *spec.features), spec.features, spec.kernels, spec.strides, spec.blocks_encoder)
        encoder = (BLOCKS[spec.block_down](*choices, style) for choices in down)
        super().__init__(spec, encoder, heads, partial(BLOCKS[spec.block], style=style))
        self.attention = nn.ModuleDict()
        """By the number of the stage."""
        if kind := ATTENTION.get(spec.attention):
            for level in kind.stages(len(spec.features)):
                self.attention[str(level)] = kind(spec.features[level], spec.kernels[level])
        wide = CONTEXT.get(spec.context)
        self.context = nn.Sequential() if wide is None else wide(spec.features[-1], spec.kernels[-1], style)
        self.attention.apply(start)
        self.context.apply(start)
        without_offsets(self)
        for module in self.modules():
            if isinstance(module, Residual):  # every block starts as its shortcut, as in residual_unet
                nn.init.zeros_(module.norm.get_parameter("weight"))
            elif isinstance(module, NonLocal):
                nn.init.zeros_(module.out.get_parameter("weight"))

    def _down(self, images: Tensor) -> list[Tensor]:
        skips = self._encoded(images)
        skips[-1] = self._attended(len(skips) - 1, self.context(skips[-1]), None)
        return skips

    def _joined(self, level: int, coarse: Tensor, skip: Tensor) -> Tensor:
        coming = self.up[level](coarse)
        return torch.cat((coming, self._attended(level, skip, coming)), 1)

    def _attended(self, level: int, maps: Tensor, coming: Tensor | None) -> Tensor:
        name = str(level)
        return self.attention[name](maps, coming) if name in self.attention else maps
