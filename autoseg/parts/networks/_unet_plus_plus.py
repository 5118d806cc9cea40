"""The torch side of unet_plus_plus."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ._monai import DeeplyHeaded, without
from ._unet import logits_of

if TYPE_CHECKING:
    from .unet_plus_plus import Spec


class UNetPlusPlus(DeeplyHeaded):
    """See ``unet_plus_plus.Spec.build``."""

    def __init__(self, spec: Spec, channels: int, heads: int) -> None:
        from monai.networks.nets.basic_unetplusplus import BasicUNetPlusPlus

        from .unet_plus_plus import DECODERS

        finest = spec.features[0]
        network = BasicUNetPlusPlus(spec.dimensions, channels, heads, (*spec.features, finest), deep_supervision=True)
        for number in range(1, DECODERS + 1):
            without(network, f"final_conv_0_{number}")
        super().__init__(network, spec.dimensions, (finest,) * DECODERS, heads)
        self.decoder, self.decoders = spec.decoder, DECODERS

    @property
    def last(self) -> nn.Module:
        """What makes logits of ``maps``; heads begin with that of the deepest decoder."""
        return self.heads[self.decoders - self.decoder]

    def maps(self, images: Tensor) -> Tensor:
        """The feature maps (B, features, *patch) of the decoder that predicts."""
        return self._decoded(images, self.decoder)[-1]

    def forward(self, images: Tensor) -> list[Tensor]:
        if not self.training and self.decoder < self.decoders:
            return [logits_of(self.last, self.maps(images))]
        scales = self.logits(self._decoded(images, self.decoders)[::-1])
        return [*scales, scales[-1]]

    def _decoded(self, images: Tensor, depth: int) -> list[Tensor]:
        """The maps of the decoders 1 to ``depth``. Node (stage, step) sees the earlier ones of its stage side by side,
        and the one below that was computed a step before; nothing deeper than ``depth`` is computed."""
        rows = list[list[Tensor]]()
        for stage in range(depth + 1):
            down = getattr(self.network, f"conv_{stage}_0")
            rows.append([down(rows[-1][0] if rows else images)])
            for step in range(1, stage + 1):
                row = rows[stage - step]
                node = getattr(self.network, f"upcat_{stage - step}_{step}")
                row.append(node(rows[stage - step + 1][step - 1], torch.cat(row, 1)))
        return rows[0][1:]
