"""HighRes3DNet: residual blocks of dilated kernels, never halved, 2-D or 3-D (Li et al. 2017, arXiv 1707.01992).
MONAI's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...core.bounds import bounded
from ._zoo import MOST_BLOCKS, MOST_FEATURES, ZooSpec

if TYPE_CHECKING:
    from torch import nn

EXTRA = "zoo"
WIDTHS = (4, 8, 16)
STAGES = 3  # kernels are dilated by 1, 2 and 4


@dataclass(frozen=True)
class Spec(ZooSpec):
    """Three groups of residual blocks, each with twice the feature maps of the one before, all at full resolution."""

    width: int = 16
    """Feature maps of the first group."""
    repeats: int = 3
    """Residual blocks of each group, of two convolutions each."""

    def __post_init__(self) -> None:
        super().__post_init__()
        bounded(self, "width", least=1, most=MOST_FEATURES >> STAGES)
        bounded(self, "repeats", least=1, most=MOST_BLOCKS)

    @property
    def divisor(self) -> tuple[int, ...]:
        """See ``contracts.Network``: any patch is fine."""
        return (1,) * self.dimensions

    @property
    def features(self) -> tuple[int, ...]:
        """See ``contracts.Network``: of the widest layer, the last but one."""
        return (5 * self.width,)

    @property
    def blocks(self) -> int:
        """See ``contracts.Network``."""
        return 2 * STAGES * self.repeats

    @classmethod
    def ladder(cls, spacing: Sequence[float], patch_size: Sequence[int]) -> tuple[Spec, ...]:
        """Three widths, of which the last is the paper's."""
        if max(patch_size) < 1 << STAGES:
            raise ValueError(f"its kernels are {1 + (1 << STAGES)} voxels wide: it needs an axis of {1 << STAGES}")
        return tuple(cls(len(patch_size), width) for width in WIDTHS)

    def made(self, channels: int, heads: int) -> nn.Module:
        """See ``ZooSpec``; logits of one scale."""
        from ._highresnet import highresnet

        return highresnet(self, channels, heads)
