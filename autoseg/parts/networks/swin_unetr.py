"""Swin UNETR: a transformer that attends within shifted windows as the encoder of a U-Net, 2-D or 3-D (Hatamizadeh et
al. 2022, arXiv 2201.01266). MONAI's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ...core.bounds import bounded
from ._zoo import MOST_BLOCKS, MOST_FEATURES, ZooSpec, check_stages, refuse_small

if TYPE_CHECKING:
    from torch import nn

EXTRA = "zoo"
STAGES = 4  # of the transformer
STEP = 32  # a patch becomes tokens of two voxels, which are joined two by two after each stage
UNIT = 12  # feature maps come in multiples of it, so that every stage divides into its attention heads
WIDTHS = (12, 24, 48)
FIRST_HEADS = 3  # of the attention of the finest stage, whose tokens are of two voxels along each axis
COPIES = 4  # of what is between tokens: scores, masked ones, shares; windows at the border are filled up


@dataclass(frozen=True)
class Spec(ZooSpec):
    """Four stages of attention."""

    PACKAGES: ClassVar[tuple[str, ...]] = ("monai", "einops")

    width: int = 24
    """Feature maps of the finest stage, a multiple of 12; the paper has 48."""
    depths: tuple[int, ...] = (2,) * STAGES
    """Layers of each stage, the finest first; every second shifts its windows."""
    window: int = 7
    """Tokens of a window along each axis, or as many as there are."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_stages(self, STAGES, "depths")
        bounded(self, "depths", least=1, most=MOST_BLOCKS)
        bounded(self, "width", least=UNIT, most=MOST_FEATURES >> STAGES)
        bounded(self, "window", least=2, most=32)
        if self.width % UNIT:
            raise ValueError(f"width must be a multiple of {UNIT}, found {self.width}")

    @property
    def divisor(self) -> tuple[int, ...]:
        """See ``contracts.Network``."""
        return (STEP,) * self.dimensions

    @property
    def features(self) -> tuple[int, ...]:
        """See ``contracts.Network``."""
        return (self.width, *(self.width << stage for stage in range(STAGES + 1)))

    @property
    def blocks(self) -> int:
        """See ``contracts.Network``."""
        return 6 * sum(self.depths)

    @property
    def held_beside(self) -> int:
        """See ``contracts.Network``: how much each token attends to each other one of its window, a few times over."""
        return COPIES * FIRST_HEADS * self.window**self.dimensions >> self.dimensions

    @classmethod
    def ladder(cls, spacing: Sequence[float], patch_size: Sequence[int]) -> tuple[Spec, ...]:
        """Three widths. Raises ValueError for a patch whose coarsest maps would be one voxel."""
        refuse_small(patch_size, STEP, "it halves the patch five times")
        return tuple(cls(len(patch_size), width) for width in WIDTHS)

    def made(self, channels: int, heads: int) -> nn.Module:
        """See ``ZooSpec``; logits of one scale."""
        from ._swin_unetr import swin_unetr

        return swin_unetr(self, channels, heads)
