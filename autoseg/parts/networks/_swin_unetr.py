"""The torch side of swin_unetr."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._monai import Headed, NumbersWithoutTensors, without
from .swin_unetr import FIRST_HEADS, STAGES

if TYPE_CHECKING:
    from .swin_unetr import Spec

HEADS = tuple(FIRST_HEADS << stage for stage in range(STAGES))  # of the attention of each stage, as in the paper


def swin_unetr(spec: Spec, channels: int, heads: int) -> Headed:
    """See ``swin_unetr.Spec.build``."""
    from monai.networks.nets.swin_unetr import SwinUNETR

    with NumbersWithoutTensors():
        network = SwinUNETR(
            channels,
            heads,
            depths=spec.depths,
            num_heads=HEADS,
            window_size=spec.window,
            feature_size=spec.width,
            spatial_dims=spec.dimensions,
        )
    return Headed(without(network, "out"), spec.dimensions, spec.width, heads)
