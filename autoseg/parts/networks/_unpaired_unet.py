"""The torch side of unpaired_unet: which modality a patch has is handed from layer to layer, none remembers it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ._normalisation import ModalityNorm
from ._unet import CONVOLUTION, UNet, activate

if TYPE_CHECKING:
    from ...core.inputs import InputSpec
    from .unpaired_unet import Spec

PRESENCE = "presence"  # the name of the input that tells which channels are there


class UnpairedUNet(UNet):
    """A U-Net of one image, which is the one channel that a patch has."""

    def __init__(self, spec: Spec, inputs: InputSpec, heads: int) -> None:
        image = inputs.image
        seen = image.slices + sum(group.seen for group in inputs.extras if group.name != PRESENCE)

        def stage(channels: int, outputs: int, kernel: tuple[int, ...], stride: tuple[int, ...], blocks: int) -> Stage:
            return Stage(channels, outputs, kernel, stride, blocks, image.channels)

        down = zip((seen, *spec.features), spec.features, spec.kernels, spec.strides, spec.blocks_encoder)
        super().__init__(spec, (stage(*choices) for choices in down), heads, stage)
        self.inputs = inputs

    @property
    def alternatives(self) -> list[list[nn.Parameter]]:
        """See ``contracts.Network``: of each modality all scales and shifts."""
        norms = [module for module in self.modules() if isinstance(module, ModalityNorm)]
        return [
            [weight for norm in norms for weight in norm.of[number].parameters()]
            for number in range(self.inputs.image.channels)
        ]

    def _up(self, images: Tensor) -> list[Tensor]:
        seen, shares = self._split(images)
        return self._decoded(self._encoded(seen, shares), shares)

    def _split(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """What the kernels see, (B, slices and further inputs, *patch), and (B, modalities): 1 for that of the patch.

        Absent channels are 0, so the sum over channels is the one that is there. A patch of which nothing is known, all
        0 and not told, gets the mean of all.
        """
        image, *extras = images.split([group.seen for group in self.inputs.groups], 1)
        named = dict(zip((group.name for group in self.inputs.extras), extras))
        told = named.pop(PRESENCE, None)
        by_channel = image.unflatten(1, (self.inputs.image.channels, self.inputs.image.slices))
        if told is None:
            there = (by_channel != 0).flatten(2).any(2)
        else:
            there = told.flatten(2)[..., 0] > 0  # constant over the patch
        known = (there | ~there.any(1, keepdim=True)).float()
        return torch.cat((by_channel.sum(1), *named.values()), 1), known / known.sum(1, keepdim=True)


class Stage(nn.ModuleList):
    """Convolution blocks, of which the first one carries the stride."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: tuple[int, ...],
        stride: tuple[int, ...],
        blocks: int,
        modalities: int,
    ) -> None:
        ones = (1,) * len(kernel)
        rest = (ModalityBlock(outputs, outputs, kernel, ones, modalities) for _ in range(blocks - 1))
        super().__init__((ModalityBlock(inputs, outputs, kernel, stride, modalities), *rest))

    def forward(self, maps: Tensor, shares: Tensor) -> Tensor:
        """Maps (B, inputs, *size), and (B, modalities)."""
        for block in self:
            maps = block(maps, shares)
        return maps


class ModalityBlock(nn.Module):
    """Convolution, instance normalisation as the modality asks, leaky ReLU."""

    def __init__(
        self, inputs: int, outputs: int, kernel: tuple[int, ...], stride: tuple[int, ...], modalities: int
    ) -> None:
        super().__init__()
        padding = tuple(size // 2 for size in kernel)
        self.convolution = CONVOLUTION[len(kernel)](inputs, outputs, kernel, stride, padding)
        self.norm = ModalityNorm(outputs, modalities)

    def forward(self, maps: Tensor, shares: Tensor) -> Tensor:
        maps = self.norm(self.convolution(maps), shares, activate)
        return maps
