"""The torch side of attention_unet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._monai import Headed, without

if TYPE_CHECKING:
    from .attention_unet import Spec


def attention_unet(spec: Spec, channels: int, heads: int) -> Headed:
    """See ``attention_unet.Spec.build``."""
    from monai.networks.nets.attentionunet import AttentionUnet

    network = AttentionUnet(spec.dimensions, channels, heads, spec.features, spec.strides[1:])  # type: ignore[arg-type]
    return Headed(without(network, "model.2"), spec.dimensions, spec.features[0], heads)
