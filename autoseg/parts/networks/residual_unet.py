"""U-Net with a residual encoder, 2-D or 3-D: the network of nnU-Net's ResEnc presets (Isensee et al. 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import _ladder
from ._stages import UNetSpec

if TYPE_CHECKING:
    from torch import nn

    from ...core.inputs import InputSpec


@dataclass(frozen=True)
class Spec(UNetSpec):
    """``features`` of the finest stage are also those of the stem, one more convolution before it; ``blocks_encoder``
    are residual blocks, of two convolutions each."""

    @classmethod
    def ladder(cls, spacing: Sequence[float], patch_size: Sequence[float]) -> tuple[Spec, ...]:
        """See ``_ladder``: the patch decides how often which axis is halved. Blocks as in Isensee et al. 2024."""
        return _ladder.ladder(cls, spacing, patch_size, blocks_encoder=(1, 3, 4, 6), blocks_decoder=1)

    @staticmethod
    def convolutions(blocks: int) -> int:
        """Convolutions of a stage of ``blocks`` on the way down: their outputs are what training keeps in memory.

        Beside two per block there is one more: the stem in the finest stage, in the others the projection past the
        first block.
        """
        return 2 * blocks + 1

    def build(self, inputs: InputSpec, heads: int) -> nn.Module:
        """The network with fresh weights: ``(B, inputs.seen, *patch)`` to a list of logits, finest first.

        Logits of scale i are ``(B, heads, *(patch / product of strides up to i))``; the coarsest stage gives none.
        """
        from ._residual_unet import residual_unet

        return residual_unet(self, inputs.seen, heads)
