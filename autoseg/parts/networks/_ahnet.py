"""The torch side of ahnet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from ._monai import adapted

if TYPE_CHECKING:
    from .ahnet import Spec


class AHNet(nn.Module):
    """See ``ahnet.Spec.build``. MONAI's has the axis across slices last, ours is the first."""

    def __init__(self, spec: Spec, channels: int, heads: int) -> None:
        super().__init__()
        from monai.networks.nets.ahnet import AHNet as Network

        self.network = adapted(Network(spec.layers, 3, channels, heads, spec.pools))

    def forward(self, images: Tensor) -> list[Tensor]:
        return [self.network(images.movedim(2, -1)).movedim(-1, 2)]
