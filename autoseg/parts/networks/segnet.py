"""SegNet, 2-D or 3-D: maxima go back where they came from (Badrinarayanan et al. 2017, IEEE TPAMI 39(12)).

On the way down each stage is left by maximum pooling, which remembers where in its block each maximum lay. On the way
up a map is unpooled: each value goes to that place, the others are 0, and convolutions fill them. Nothing else of the
way down is kept, so there are no skip connections, and prediction takes little memory.

Here the coarsest stage is not pooled once more, every stage of the way up ends with logits (deep supervision), and
instance normalisation and leaky ReLU stand for batch normalisation and ReLU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._stages import UNetSpec

if TYPE_CHECKING:
    from torch import nn

    from ...core.inputs import InputSpec


@dataclass(frozen=True)
class Spec(UNetSpec):
    """``strides`` are the blocks that are pooled. On the way up one more convolution per stage leads to it, on the
    coarser voxels: a map is unpooled by the maxima of as many maps."""

    def build(self, inputs: InputSpec, heads: int) -> nn.Module:
        """The network with fresh weights: ``(B, inputs.seen, *patch)`` to a list of logits, finest first.

        Logits of scale i are ``(B, heads, *(patch / product of strides up to i))``; the coarsest stage gives none.
        """
        from ._segnet import SegNet

        return SegNet(self, inputs.seen, heads)
