"""The torch side of primus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from ._normalisation import InstanceNorm
from ._transformer import Transformer
from ._unet import CONVOLUTION, TRANSPOSED, activate, laid_out, logits_of, start

if TYPE_CHECKING:
    from .primus import Spec


class Primus(nn.Module):
    """``cut`` makes tokens of the patch, ``up`` brings them back to voxels, the coarsest step first."""

    def __init__(self, spec: Spec, channels: int, heads: int) -> None:
        super().__init__()
        convolution, token = CONVOLUTION[spec.dimensions], spec.divisor
        self.cut = convolution(channels, spec.width, token, token)
        self.up = nn.ModuleList(
            Step(coarse, fine, stride)
            for fine, coarse, stride in zip(spec.features, (*spec.features[1:], spec.width), spec.strides)
        )
        self.last = convolution(spec.features[0], heads, 1)
        self.apply(start)
        self.transformer = Transformer(spec.width, spec.layers, spec.attention_heads)

    def forward(self, images: Tensor) -> list[Tensor]:
        return [logits_of(self.last, self.maps(images))]

    def maps(self, images: Tensor) -> Tensor:
        """The finest feature maps (B, features, *patch)."""
        maps: Tensor = self.transformer(self.cut(laid_out(images)))
        for step in reversed(self.up):
            maps = step(maps)
        return maps


class Step(nn.Module):
    """Transposed convolution without overlap, instance normalisation, leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: tuple[int, ...]) -> None:
        super().__init__()
        self.up = TRANSPOSED[len(stride)](inputs, outputs, stride, stride)
        self.norm = InstanceNorm(outputs)

    def forward(self, maps: Tensor) -> Tensor:
        return activate(self.norm(self.up(maps)))
