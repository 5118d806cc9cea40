"""The torch side of unet_plus_plus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from ._monai import DeeplyHeaded, without

if TYPE_CHECKING:
    from .unet_plus_plus import Spec

DECODERS = 4


class UNetPlusPlus(DeeplyHeaded):
    """See ``unet_plus_plus.Spec.build``."""

    def __init__(self, spec: Spec, channels: int, heads: int) -> None:
        from monai.networks.nets.basic_unetplusplus import BasicUNetPlusPlus

        finest = spec.features[0]
        network = BasicUNetPlusPlus(spec.dimensions, channels, heads, (*spec.features, finest), deep_supervision=True)
        for number in range(1, DECODERS + 1):
            without(network, f"final_conv_0_{number}")
        super().__init__(network, spec.dimensions, (finest,) * DECODERS, heads)

    def maps(self, images: Tensor) -> Tensor:
        """The feature maps (B, features, *patch) of the deepest decoder."""
        maps: Tensor = self.network(images)[-1]
        return maps

    def forward(self, images: Tensor) -> list[Tensor]:
        scales = self.logits(self.network(images)[::-1])
        return [*scales, scales[-1]]
