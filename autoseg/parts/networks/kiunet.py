"""KiU-Net, 2-D or 3-D: a branch finer than the image beside a U-Net (Valanarasu et al. 2020, MICCAI; 2022, IEEE TMI).

The over-complete branch, Kite-Net, mirrors the U-Net: where that halves an axis, it doubles it. Its kernels see less
and less of the image, at more and more voxels, which is what thin structures and sharp edges need. At each stage cross
residual fusion tells each branch what the other found: a convolution of the other's maps, interpolated to its own
voxels, is added. In the end both are added at the voxels of the image.

Here the branch has one stage in 3-D and two in 2-D, of 16 feature maps each, since a stage has 8 or 4 times as many
voxels as the one before; the authors have three. It is left by convolutions with a stride instead of maximum pooling,
and both convolutions of a fusion work on the coarser voxels. The U-Net is that of ``plain_unet``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from math import prod
from operator import mul
from typing import TYPE_CHECKING

from ...core.bounds import bounded
from . import _ladder
from ._stages import UNetSpec, refuse_too_many

if TYPE_CHECKING:
    from torch import nn

    from ...core.inputs import InputSpec

STAGES = {2: 2, 3: 1}  # of the over-complete branch, by dimensions
FEATURES = 16  # of each: processors copy maps into blocks of 16, so that with fewer little would be saved
HELD = 4  # maps of a finer stage, interpolated ones included, that prediction holds of each that there is


@dataclass(frozen=True)
class Spec(UNetSpec):
    """All but ``over_features`` says how the U-Net is."""

    over_features: tuple[int, ...] = (16,)
    """Feature maps of each stage of the over-complete branch, the one next to the image first. Stage i has as many
    times more voxels than the stage before as stage i of the U-Net has fewer."""

    def __post_init__(self) -> None:
        super().__post_init__()
        stages = len(self.features) - 1
        if not 1 <= len(self.over_features) <= stages:
            raise ValueError(f"over_features: there must be 1 to {stages} stages, found {len(self.over_features)}")
        bounded(self, "over_features", least=1, most=1 << 16)
        size, widest = prod(max(kernel) for kernel in zip(*self.kernels)), max(*self.features, *self.over_features)
        refuse_too_many(4 * size * widest * sum(self.over_features), "over_features, features and kernels")

    @classmethod
    def ladder(cls, spacing: Sequence[float], patch_size: Sequence[float]) -> tuple[Spec, ...]:
        """See ``_ladder``: the patch decides how often which axis is halved."""
        return tuple(
            replace(size, over_features=(FEATURES,) * min(STAGES[len(spacing)], len(size.features) - 1))
            for size in _ladder.ladder(cls, spacing, patch_size)
        )

    @property
    def held_beside(self) -> int:
        """Those of the over-complete branch, in voxels of the image."""
        finer = accumulate((prod(stride) for stride in self.strides[1:]), mul)
        return HELD * sum(count * voxels for count, voxels in zip(self.over_features, finer))

    def build(self, inputs: InputSpec, heads: int) -> nn.Module:
        """The network with fresh weights: ``(B, inputs.seen, *patch)`` to a list of logits, finest first.

        Logits of scale i are ``(B, heads, *(patch / product of strides up to i))``; the coarsest stage gives none.
        """
        from ._kiunet import KiUNet

        return KiUNet(self, inputs.seen, heads)
