"""The torch side of highresnet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._monai import Headed, without

if TYPE_CHECKING:
    from .highresnet import Spec


def highresnet(spec: Spec, channels: int, heads: int) -> Headed:
    """See ``highresnet.Spec.build``. Without the norm and the ReLU that MONAI lets follow the logits."""
    from monai.networks.nets.highresnet import HighResNet

    width, last = spec.width, spec.features[0]
    groups = [
        {"name": f"res_{stage}", "n_features": width << stage, "kernels": (3, 3), "repeat": spec.repeats}
        for stage in range(3)
    ]
    layers = [
        {"name": "first", "n_features": width, "kernel_size": 3},
        *groups,
        {"name": "wide", "n_features": last, "kernel_size": 1},
        {"name": "last", "kernel_size": 1},
    ]
    network = HighResNet(spec.dimensions, channels, heads, layer_params=layers)
    return Headed(without(network, f"blocks.{len(network.blocks) - 1}"), spec.dimensions, last, heads)
