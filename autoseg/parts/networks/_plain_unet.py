"""The torch side of plain_unet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._unet import UNet, stage

if TYPE_CHECKING:
    from .plain_unet import Spec


def plain_unet(spec: Spec, channels: int, heads: int) -> UNet:
    """See ``plain_unet.Spec.build``."""
    down = zip((channels, *spec.features), spec.features, spec.kernels, spec.strides, spec.blocks_encoder)
    return UNet(spec, (stage(*choices) for choices in down), heads)
