"""The torch side of kiunet: an over-complete branch, and what passes between it and the U-Net."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ._interpolation import resized
from ._unet import Block, UNet, laid_out, stage, start

if TYPE_CHECKING:
    from .kiunet import Spec


class CrossResidualFusion(nn.Module):
    """Adds to the maps of each branch what a convolution makes of the other's, all on the coarser voxels."""

    def __init__(self, coarse: int, fine: int, kernel: tuple[int, ...]) -> None:
        super().__init__()
        ones = (1,) * len(kernel)
        self.to_coarse, self.to_fine = Block(fine, coarse, kernel, ones), Block(coarse, fine, kernel, ones)

    def forward(self, coarse: Tensor, fine: Tensor) -> tuple[Tensor, Tensor]:
        to_coarse = self.to_coarse(resized(fine, coarse.shape[2:]))
        to_fine = resized(self.to_fine(coarse), fine.shape[2:])
        return coarse + to_coarse, fine + to_fine


class KiUNet(UNet):
    """Lists are indexed by stage. Those of the over-complete branch begin with the first beside the image: there
    ``over`` leads into a stage, ``back`` out of it, and ``fusions`` join branches on the way down and up."""

    def __init__(self, spec: Spec, channels: int, heads: int) -> None:
        down = zip((channels, *spec.features), spec.features, spec.kernels, spec.strides, spec.blocks_encoder)
        super().__init__(spec, (stage(*choices) for choices in down), heads)
        over, kernels, ones = spec.over_features, spec.kernels[1:], (1,) * spec.dimensions
        self.strides = spec.strides[1 : 1 + len(over)]
        self.over = nn.ModuleList(
            Block(inputs, outputs, kernel, ones) for inputs, outputs, kernel in zip((channels, *over), over, kernels)
        )
        self.back = nn.ModuleList(
            Block(inputs, outputs, kernel, stride)
            for inputs, outputs, kernel, stride in zip(over, (spec.features[0], *over), kernels, self.strides)
        )
        both = [*zip(spec.features[1:], over, kernels)]
        self.fusions_down = nn.ModuleList(CrossResidualFusion(*choices) for choices in both)
        self.fusions_up = nn.ModuleList(CrossResidualFusion(*choices) for choices in both[:-1])
        for added in (self.over, self.back, self.fusions_down, self.fusions_up):
            added.apply(start)

    def _up(self, images: Tensor) -> list[Tensor]:
        maps, fine = self.encoder[0](laid_out(images)), images
        skips, finer = [maps], []
        for level, encode in enumerate([*self.encoder][1:]):
            maps = self.dropout[level + 1](encode(maps))
            if level < len(self.over):
                fine = self.over[level](fine)
                size = [edge * step for edge, step in zip(fine.shape[2:], self.strides[level])]
                maps, fine = self.fusions_down[level](maps, resized(fine, size))
                finer.append(fine)
            skips.append(maps)
        return self._both_back(skips, finer)

    def _both_back(self, skips: list[Tensor], finer: list[Tensor]) -> list[Tensor]:
        """The U-Net's way up and the branch's way back, from their maps of each stage, which are gone afterwards."""
        decoded, fine = [skips.pop()], finer.pop()
        for level in reversed(range(len(self.decoder))):
            maps = self.dropout[level](self.decoder[level](torch.cat((self.up[level](decoded[-1]), skips.pop()), 1)))
            if level < len(self.back):
                fine = self.back[level](fine)
                if level == 0:
                    maps = maps + fine
                else:
                    maps, fine = self.fusions_up[level - 1](maps, fine + finer.pop())
            decoded.append(maps)
        return decoded[1:]
