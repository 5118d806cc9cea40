"""Plain convolutional U-Net, 2-D or 3-D (Ronneberger et al. 2015; the shape that Isensee et al. 2021 plan)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._stages import UNetSpec

if TYPE_CHECKING:
    from torch import nn

    from ...core.inputs import InputSpec


@dataclass(frozen=True)
class Spec(UNetSpec):
    """Convolution, norm and activation, again and again."""

    @staticmethod
    def convolutions(blocks: int) -> int:
        """Convolutions of a stage of ``blocks`` on the way down: their outputs are what training keeps in memory."""
        return blocks

    def build(self, inputs: InputSpec, heads: int) -> nn.Module:
        """The network with fresh weights: ``(B, inputs.seen, *patch)`` to a list of logits, finest first.

        Logits of scale i are ``(B, heads, *(patch / product of strides up to i))``; the coarsest stage gives none.
        """
        from ._plain_unet import plain_unet

        return plain_unet(self, inputs.seen, heads)
