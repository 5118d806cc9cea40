"""Shape attentive U-Net (SAUNet), 2-D or 3-D: a stream of shape beside the texture (Sun et al. 2020, MICCAI).

The shape stream stays at the voxels of the image and has few feature maps. At each of its steps a gate, made of its own
maps and of coarser ones of the U-Net, lets through what lies at a boundary, and a residual block refines it. The edges
that it finds and those of the image itself make an attention map, which joins the last maps of the U-Net. On the way up
each stage ends with dual attention: which voxels count, and which feature maps.

Here the U-Net is that of ``plain_unet`` instead of a DenseNet; the steepness of the image stands for its Canny edges,
so that nothing is decided beforehand; the found edges serve attention only and have no loss of their own; and gates
have no norm, so that they may be closed all over a patch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._stages import UNetSpec

if TYPE_CHECKING:
    from torch import nn

    from ...core.inputs import InputSpec

GATES = 3  # of the shape stream at most: each sees a coarser stage of the U-Net


@dataclass(frozen=True)
class Spec(UNetSpec):
    """The stages of the U-Net; the shape stream follows from them."""

    @property
    def shape_features(self) -> tuple[int, ...]:
        """Feature maps of the shape stream: half of the finest stage's, and half as many again after each gate."""
        gates = min(GATES, len(self.features) - 1)
        return tuple(max(1, self.features[0] >> step) for step in range(1, gates + 2))

    @property
    def held_beside(self) -> int:
        """Those of the shape stream while it runs, and what comes of its attention."""
        return 2 * self.features[0]

    def build(self, inputs: InputSpec, heads: int) -> nn.Module:
        """The network with fresh weights: ``(B, inputs.seen, *patch)`` to a list of logits, finest first.

        Logits of scale i are ``(B, heads, *(patch / product of strides up to i))``; the coarsest stage gives none.
        """
        from ._saunet import SAUNet

        return SAUNet(self, inputs, heads)
