"""U-Net with a residual encoder, 2-D or 3-D: the network of nnU-Net's ResEnc presets (Isensee et al. 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import _ladder, _stages

if TYPE_CHECKING:
    from torch import nn

    from ...core.inputs import InputSpec


@dataclass(frozen=True)
class Spec:
    """One entry per stage, the finest stage first; before the finest stage one more convolution, the stem."""

    features: tuple[int, ...]
    """Feature maps of each stage; the stem has those of the finest."""
    kernels: tuple[tuple[int, ...], ...]
    """Kernel of each stage's convolutions, voxels per axis, odd; two entries for 2-D."""
    strides: tuple[tuple[int, ...], ...]
    """Stride with which each stage is entered; the first is all ones: logits are wanted for every voxel."""
    blocks_encoder: tuple[int, ...]
    """Residual blocks, of two convolutions each, of each stage on the way down."""
    blocks_decoder: tuple[int, ...]
    """Convolutions of each stage on the way up: one entry fewer, since the coarsest stage has no way up."""

    def __post_init__(self) -> None:
        _stages.check(self)

    @property
    def dimensions(self) -> int:
        """2 or 3."""
        return len(self.strides[0])

    @property
    def divisor(self) -> tuple[int, ...]:
        """A patch must be a multiple of this along each axis."""
        return _stages.divisor(self.strides)

    @property
    def blocks(self) -> int:
        """See ``contracts.Network``."""
        return sum(self.blocks_encoder) + sum(self.blocks_decoder)

    @property
    def held_beside(self) -> int:
        """See ``contracts.Network``."""
        return 0

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

    def check_inputs(self, inputs: InputSpec) -> None:
        """Any are fine."""

    def build(self, inputs: InputSpec, heads: int) -> nn.Module:
        """The network with fresh weights: ``(B, inputs.seen, *patch)`` to a list of logits, finest first.

        Logits of scale i are ``(B, heads, *(patch / product of strides up to i))``; the coarsest stage gives none.
        """
        from ._residual_unet import residual_unet

        return residual_unet(self, inputs.seen, heads)
