"""SegResNet: residual encoder, light decoder that adds instead of joining, 2-D or 3-D (Myronenko, BraTS 2018, arXiv
1810.11654). MONAI's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from ...core.bounds import bounded
from ._zoo import MOST_BLOCKS, MOST_FEATURES, ZooSpec, check_stages, halvings

if TYPE_CHECKING:
    from torch import nn

EXTRA = "zoo"
GROUPS = 8  # of the group normalisation, as in the paper
WIDTHS = (8, 16, 32)
DOWN = (1, 2, 2, 4)  # residual blocks of each stage, as in the paper
Kind = TypeVar("Kind", bound="Spec")


@dataclass(frozen=True)
class Spec(ZooSpec):
    """Each stage has twice the feature maps of the one before."""

    width: int = 16
    """Feature maps of the finest stage, a multiple of 8."""
    blocks_down: tuple[int, ...] = DOWN
    """Residual blocks of each stage on the way down."""
    blocks_up: tuple[int, ...] = (1, 1, 1)
    """On the way up, the coarsest first."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_stages(self, len(self.blocks_down), "blocks_down")
        if len(self.blocks_up) != len(self.blocks_down) - 1:
            raise ValueError(f"blocks_up must have one entry fewer than blocks_down, found {len(self.blocks_up)}")
        bounded(self, "width", least=GROUPS, most=MOST_FEATURES >> len(self.blocks_up))
        bounded(self, "blocks_down", "blocks_up", least=1, most=MOST_BLOCKS)
        if self.width % GROUPS:
            raise ValueError(f"width must be a multiple of {GROUPS}, found {self.width}")

    @property
    def divisor(self) -> tuple[int, ...]:
        """See ``contracts.Network``."""
        return (2 ** len(self.blocks_up),) * self.dimensions

    @property
    def features(self) -> tuple[int, ...]:
        """See ``contracts.Network``."""
        return tuple(self.width << stage for stage in range(len(self.blocks_down)))

    @property
    def blocks(self) -> int:
        """See ``contracts.Network``: each has two convolutions."""
        return 2 * (sum(self.blocks_down) + sum(self.blocks_up))

    @classmethod
    def ladder(cls: type[Kind], spacing: Sequence[float], patch_size: Sequence[int]) -> tuple[Kind, ...]:
        """Three widths, of which the last is the paper's. Raises ValueError for a patch that cannot be halved."""
        steps = halvings(patch_size, len(DOWN) - 1)
        return tuple(cls(len(patch_size), width, DOWN[: steps + 1], (1,) * steps) for width in WIDTHS)

    def made(self, channels: int, heads: int) -> nn.Module:
        """See ``ZooSpec``; logits of one scale."""
        from ._segresnet import segresnet

        return segresnet(self, channels, heads)
