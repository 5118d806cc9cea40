"""AH-Net: kernels within slices in the encoder, across slices in the decoder, then pyramid pooling; for volumes whose
slices lie apart (Liu et al. 2018, arXiv 1711.08580). MONAI's; 3-D."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...core.bounds import bounded
from ._zoo import MOST_BLOCKS, ZooSpec, check_stages, refuse_small

if TYPE_CHECKING:
    from torch import nn

EXTRA = "zoo"
STEP = 32  # all axes are halved five times
MOST_POOLS = 4
SIZES = ((1, 1, 1, 1), (2, 2, 2, 2), (3, 4, 6, 3))
FEATURES = (24, 64, 256, 512, 1024, 2048)


@dataclass(frozen=True)
class Spec(ZooSpec):
    """The encoder is a ResNet of 64 to 2048 feature maps, whose kernels see one slice."""

    layers: tuple[int, ...] = SIZES[1]
    """Residual blocks of each of the four stages; (3, 4, 6, 3) is the paper's, ResNet-50."""
    pools: int = 2
    """Pyramid poolings at the end, of squares of 16, 32, 64 and 128 voxels within slices; at most 4."""

    def __post_init__(self) -> None:
        super().__post_init__()
        bounded(self, "dimensions", least=3, most=3)
        check_stages(self, 4, "layers")
        bounded(self, "layers", least=1, most=MOST_BLOCKS)
        bounded(self, "pools", least=1, most=MOST_POOLS)

    @property
    def divisor(self) -> tuple[int, ...]:
        """See ``contracts.Network``: within slices also of the largest square that is pooled."""
        square = max(STEP, 8 << self.pools)
        return (STEP, square, square)

    @property
    def features(self) -> tuple[int, ...]:
        """See ``contracts.Network``: of the finest, what there is of them for each voxel, at half the resolution."""
        return FEATURES

    @property
    def blocks(self) -> int:
        """See ``contracts.Network``."""
        return 3 * sum(self.layers)

    @classmethod
    def ladder(cls, spacing: Sequence[float], patch_size: Sequence[int]) -> tuple[Spec, ...]:
        """Three depths. Raises ValueError for slices, and for a patch whose coarsest maps would be one voxel."""
        if len(patch_size) != 3:
            raise ValueError("it is for volumes only: of two axes its kernels would see one")
        refuse_small(patch_size, STEP, "it halves the patch five times")
        inside = min(patch_size[1:])
        pools = max(1, *(count for count in range(1, MOST_POOLS + 1) if 8 << count <= inside))
        return tuple(cls(3, layers, pools) for layers in SIZES)

    def made(self, channels: int, heads: int) -> nn.Module:
        """See ``ZooSpec``; logits of one scale."""
        from ._ahnet import AHNet

        return AHNet(self, channels, heads)
