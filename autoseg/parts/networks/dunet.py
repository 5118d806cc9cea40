"""U-Net with deformable convolutions, 2-D or 3-D (DUNet; Jin et al. 2019, arXiv 1811.01206; Dai et al. 2017).

A deformable convolution looks where the maps themselves tell it to look: each entry of its kernel has an offset of its
own at each voxel. As in the paper there are some on every stage, down and up. Other than there, the first convolution
of a stage, which brings the stride, is a plain one; offsets have a limit, so that they do not all leave the patch; and
3-D networks deform only where maps are coarse: of 27 entries each takes eight voxels together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, prod
from typing import TYPE_CHECKING

from ...core.bounds import bounded
from . import _ladder, _stages

if TYPE_CHECKING:
    from torch import nn

    from ...core.inputs import InputSpec

FIRST = {2: 0, 3: 2}  # stage that deforms, by dimensions


@dataclass(frozen=True)
class Spec(_stages.UNetSpec):
    """Convolutions of a stage deform but for the first."""

    deformable: int = 0
    """The first stage whose convolutions deform, from 0, the finest."""

    def __post_init__(self) -> None:
        super().__post_init__()
        bounded(self, "deformable", least=0, most=len(self.features) - 1)
        count = _stages.weights(self)
        for stage in range(self.deformable, len(self.features)):
            blocks = self.blocks_encoder[stage] + (self.blocks_decoder[stage] if stage < len(self.features) - 1 else 0)
            count += blocks * self.features[stage] * self.dimensions * prod(self.kernels[stage]) ** 2
        _stages.refuse_too_many(count, "features, kernels and blocks")

    @property
    def held_beside(self) -> int:
        """Offsets of the finest stage that deforms, twice, and maps that are looked up, as finest feature maps."""
        offsets = self.dimensions * prod(self.kernels[self.deformable])
        voxels = prod(self.stride_of(self.deformable))
        return ceil((2 * offsets + 2 * self.features[self.deformable]) / voxels)

    def stride_of(self, stage: int) -> tuple[int, ...]:
        """Voxels of the patch per voxel of a stage, along each axis."""
        return _stages.divisor(self.strides[: stage + 1])

    @classmethod
    def ladder(cls, spacing: Sequence[float], patch_size: Sequence[float]) -> tuple[Spec, ...]:
        """See ``_ladder``."""
        sizes = _ladder.ladder(cls, spacing, patch_size)
        return tuple(replace(size, deformable=min(FIRST[len(spacing)], len(size.features) - 1)) for size in sizes)

    def build(self, inputs: InputSpec, heads: int) -> nn.Module:
        """The network with fresh weights: ``(B, inputs.seen, *patch)`` to a list of logits, finest first.

        Logits of scale i are ``(B, heads, *(patch / product of strides up to i))``; the coarsest stage gives none.
        All offsets are 0 at first.
        """
        from ._dunet import dunet

        return dunet(self, inputs.seen, heads)
