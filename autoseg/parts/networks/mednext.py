"""MedNeXt: inverted bottlenecks of ConvNeXt in a U-Net, 2-D or 3-D (Roy et al. 2023, arXiv 2303.09975). MONAI's.

The paper's sizes S, B, M and L differ in how many blocks a stage has, and how many times its feature maps these widen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...core.bounds import bounded
from ._zoo import MOST_BLOCKS, MOST_FEATURES, ZooSpec, check_stages, halvings

if TYPE_CHECKING:
    from torch import nn

EXTRA = "zoo"
WIDTH = 32
HALVINGS = 4
SIZES = (
    ((2, 2, 2, 2, 2), (2, 2, 2, 2, 2)),
    ((2, 2, 2, 2, 2), (2, 3, 4, 4, 4)),
    ((3, 4, 4, 4, 4), (2, 3, 4, 4, 4)),
    ((3, 4, 8, 8, 8), (3, 4, 8, 8, 8)),
)
"""Of S, B, M and L: blocks of each stage, and their expansion; the way up has the same as the way down."""


@dataclass(frozen=True)
class Spec(ZooSpec):
    """One entry per stage, the finest first; logits of every stage. Each has twice the feature maps of the last."""

    width: int = WIDTH
    """Feature maps of the finest stage."""
    blocks_of_stage: tuple[int, ...] = SIZES[0][0]
    """Blocks of each stage, on the way down and up."""
    expansion: tuple[int, ...] = SIZES[0][1]
    """How many times as many feature maps there are inside a block."""
    kernel: int = 3
    """Voxels of the kernels along each axis, odd; the paper has 3 and 5. ``_mednext.upkern`` makes of weights for 3
    those to begin a training with 5."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_stages(self, len(self.blocks_of_stage), "blocks_of_stage", "expansion")
        bounded(self, "width", least=1, most=MOST_FEATURES >> len(self.expansion))
        bounded(self, "blocks_of_stage", least=1, most=MOST_BLOCKS)
        bounded(self, "expansion", least=1, most=16)
        bounded(self, "kernel", least=1, most=15)
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, found {self.kernel}")

    @property
    def divisor(self) -> tuple[int, ...]:
        """See ``contracts.Network``."""
        return (1 << (len(self.expansion) - 1),) * self.dimensions

    @property
    def features(self) -> tuple[int, ...]:
        """See ``contracts.Network``."""
        return tuple(self.width << stage for stage in range(len(self.expansion)))

    @property
    def blocks(self) -> int:
        """See ``contracts.Network``: a block has three convolutions."""
        return 3 * (2 * sum(self.blocks_of_stage) - self.blocks_of_stage[-1])

    @property
    def held_beside(self) -> int:
        """See ``contracts.Network``: what a block widens, before and after its activation."""
        return 2 * self.width * self.expansion[0]

    @classmethod
    def ladder(cls, spacing: Sequence[float], patch_size: Sequence[int]) -> tuple[Spec, ...]:
        """S, B, M and L. Raises ValueError for a patch that cannot be halved."""
        axes, stages = len(patch_size), halvings(patch_size, HALVINGS) + 1
        return tuple(cls(axes, WIDTH, blocks[:stages], expansion[:stages]) for blocks, expansion in SIZES)

    def made(self, channels: int, heads: int) -> nn.Module:
        """See ``ZooSpec``."""
        from ._mednext import mednext

        return mednext(self, channels, heads)
