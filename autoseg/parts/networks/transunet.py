"""U-Net with a transformer over its coarsest stage, 2-D or 3-D (TransUNet; Chen et al. 2021, arXiv 2102.04306).

As there, convolutions make feature maps of a sixteenth of the patch, whose voxels are the tokens, and the way up has
skip connections. Other than there, convolutions are those of ``plain_unet`` instead of a pretrained ResNet-50, and
positions are rotary instead of learned, so that weights do not depend on the patch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from . import _ladder, _stages, _transformer_size

if TYPE_CHECKING:
    from torch import nn

    from ...core.inputs import InputSpec

STAGES = 5  # the coarsest sees a sixteenth of the patch along an axis
LAYERS = (4, 8, 12)  # of each size
HEAD_WIDTH = 32


@dataclass(frozen=True)
class Spec(_stages.UNetSpec):
    """The last entry of ``features`` is also the width of the transformer."""

    layers: int = 12
    """Of the transformer."""
    attention_heads: int = 1
    """They share the maps of the coarsest stage."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _transformer_size.check(self, self.features[-1], self.dimensions)
        count = _stages.weights(self) + _transformer_size.weights(self.layers, self.features[-1])
        _stages.refuse_too_many(count, "features, kernels, blocks and layers")

    @classmethod
    def ladder(cls, spacing: Sequence[float], patch_size: Sequence[float]) -> tuple[Spec, ...]:
        """See ``_ladder``. The transformer has more layers from size to size."""
        sizes = _ladder.ladder(cls, spacing, patch_size, most_stages=STAGES)
        return tuple(
            replace(size, layers=layers, attention_heads=size.features[-1] // HEAD_WIDTH)
            for size, layers in zip(sizes, LAYERS)
        )

    def build(self, inputs: InputSpec, heads: int) -> nn.Module:
        """The network with fresh weights: ``(B, inputs.seen, *patch)`` to a list of logits, finest first.

        Logits of scale i are ``(B, heads, *(patch / product of strides up to i))``; the coarsest stage gives none.
        """
        from ._transunet import transunet

        return transunet(self, inputs.seen, heads)
