"""The torch side of transunet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._transformer import Transformer
from ._unet import UNet, stage

if TYPE_CHECKING:
    from .transunet import Spec


def transunet(spec: Spec, channels: int, heads: int) -> UNet:
    """See ``transunet.Spec.build``."""
    down = zip((channels, *spec.features), spec.features, spec.kernels, spec.strides, spec.blocks_encoder)
    encoder = [stage(*choices) for choices in down]
    network = UNet(spec, encoder, heads)
    network.encoder[-1].append(Transformer(spec.features[-1], spec.layers, spec.attention_heads))  # type: ignore[operator]
    return network
