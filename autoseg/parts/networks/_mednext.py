"""The torch side of mednext."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from ._monai import DeeplyHeaded

if TYPE_CHECKING:
    from .mednext import Spec

LINEAR = {4: "bilinear", 5: "trilinear"}


def mednext(spec: Spec, channels: int, heads: int) -> DeeplyHeaded:
    """See ``mednext.Spec.build``."""
    return DeeplyHeaded(Stages(spec, channels), spec.dimensions, spec.features, heads)


class Stages(nn.Module):
    """All but what makes logits."""

    def __init__(self, spec: Spec, channels: int) -> None:
        super().__init__()
        from monai.networks.nets.mednext import MedNeXt

        *blocks, deepest = spec.blocks_of_stage
        *expansion, widest = spec.expansion
        network = MedNeXt(
            spec.dimensions,
            spec.width,
            channels,
            encoder_expansion_ratio=expansion,
            decoder_expansion_ratio=expansion[::-1],
            bottleneck_expansion_ratio=widest,
            kernel_size=spec.kernel,
            use_residual_connection=True,
            blocks_down=blocks,
            blocks_bottleneck=deepest,
            blocks_up=blocks[::-1],
        )
        self.stem, self.bottleneck = network.stem, network.bottleneck
        self.encoder, self.down = network.enc_stages, network.down_blocks
        self.up, self.decoder = network.up_blocks, network.dec_stages

    def forward(self, images: Tensor) -> list[Tensor]:
        """Feature maps of every stage, finest first."""
        maps, skips = self.stem(images), []
        for encode, down in zip(self.encoder, self.down):
            skips.append(encode(maps))
            maps = down(skips[-1])
        scales = [self.bottleneck(maps)]
        for up, decode in zip(self.up, self.decoder):
            scales.append(decode(up(scales[-1]) + skips.pop()))
        return scales[::-1]


def upkern(small: Mapping[str, Tensor], large: nn.Module) -> dict[str, Tensor]:
    """Weights for ``large``, of the weights of the same network with smaller kernels (UpKern, Roy et al. 2023).

    Kernels are interpolated linearly, as images are enlarged; all else is copied. Raises ValueError for weights of
    another network.
    """
    wanted = large.state_dict()
    if wanted.keys() != small.keys():
        raise ValueError("these are weights of another network: their names differ")
    found = {}
    for name, kernel in small.items():
        size = wanted[name].shape
        if kernel.shape[:2] != size[:2] or (kernel.shape != size and kernel.dim() not in LINEAR):
            raise ValueError(f"these are weights of another network: {name} has shape {tuple(kernel.shape)}")
        if kernel.shape != size:
            mode = LINEAR[kernel.dim()]
            kernel = interpolate(kernel, size=size[2:], mode=mode)
        found[name] = kernel.detach().to(torch.float32)
    return found
