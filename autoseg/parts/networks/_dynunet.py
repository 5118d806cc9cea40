"""The torch side of dynunet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from ._monai import DeeplyHeaded

if TYPE_CHECKING:
    from .dynunet import Spec


def dynunet(spec: Spec, channels: int, heads: int) -> DeeplyHeaded:
    """See ``dynunet.Spec.build``."""
    return DeeplyHeaded(Stages(spec, channels), spec.dimensions, spec.features[:-1], heads)


class Stages(nn.Module):
    """All but what makes logits. MONAI's own way through them enlarges the logits of every stage to the finest."""

    def __init__(self, spec: Spec, channels: int) -> None:
        super().__init__()
        from monai.networks.nets.dynunet import DynUNet

        network = DynUNet(
            spec.dimensions,
            channels,
            1,
            kernel_size=spec.kernels,
            strides=spec.strides,
            upsample_kernel_size=spec.strides[1:],
            filters=spec.features,
            res_block=spec.residual,
        )
        self.down = nn.ModuleList((network.input_block, *network.downsamples, network.bottleneck))
        self.up = network.upsamples

    def forward(self, images: Tensor) -> list[Tensor]:
        """Feature maps of every stage but the coarsest, finest first."""
        skips = [images]
        for stage in self.down:
            skips.append(stage(skips[-1]))
        scales = [skips.pop()]
        for stage in self.up:
            scales.append(stage(scales[-1], skips.pop()))
        return scales[:0:-1]
