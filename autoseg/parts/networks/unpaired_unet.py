"""U-Net for unpaired modalities, 2-D or 3-D: all share its kernels, each has its own scale and shift of every norm.

Each case has one of several modalities of the same anatomy, a channel of the image each: CT or MR, say. A kernel sees
that one, whichever it is; instance normalisation has learned parameters for each (Dou et al. 2020, IEEE Transactions on
Medical Imaging 39(7), arXiv 2001.03111, who normalise over batches and add a loss that compares modalities).
"""

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
    """One entry per stage, the finest stage first; a stage is a few convolutions at one resolution."""

    features: tuple[int, ...]
    """Feature maps of each stage."""
    kernels: tuple[tuple[int, ...], ...]
    """Kernel of each stage's convolutions, voxels per axis, odd; two entries for 2-D."""
    strides: tuple[tuple[int, ...], ...]
    """Stride with which each stage is entered; the first is all ones: logits are wanted for every voxel."""
    blocks_encoder: tuple[int, ...]
    """Convolutions of each stage on the way down."""
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
        """See ``_ladder``: the sizes of plain_unet."""
        return _ladder.ladder(cls, spacing, patch_size)

    def check_inputs(self, inputs: InputSpec) -> None:
        """See ``contracts.Network``."""
        if inputs.image.channels == 1:
            raise ValueError("each case has one of several modalities, but the images have one channel only")

    def build(self, inputs: InputSpec, heads: int) -> nn.Module:
        """The network with fresh weights: ``(B, inputs.seen, *patch)`` to a list of logits, finest first.

        Logits of scale i are ``(B, heads, *(patch / product of strides up to i))``; the coarsest stage gives none.
        The input ``presence`` says which channel a patch has; without it, one that is not 0 everywhere. Raises
        ValueError for images of one channel.
        """
        from ._unpaired_unet import UnpairedUNet

        self.check_inputs(inputs)
        return UnpairedUNet(self, inputs, heads)
