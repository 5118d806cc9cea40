"""UNETR: a vision transformer of patches of 16 voxels as the encoder of a U-Net, 2-D or 3-D (Hatamizadeh et al. 2022,
arXiv 2103.10504). MONAI's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, ClassVar

from ...core.bounds import bounded
from ._zoo import MOST_FEATURES, ZooSpec, refuse_small

if TYPE_CHECKING:
    from torch import nn

EXTRA = "zoo"
TOKEN = 16  # voxels along each axis
LAYERS = 12  # of the transformer, of which every third is handed to the decoder
MOST_TOKENS = 1 << 15
SIZES = ((8, 192, 3), (16, 384, 6), (16, 768, 12))
"""Width, numbers per token, attention heads; the last is the paper's."""


@dataclass(frozen=True)
class Spec(ZooSpec):
    """Twelve layers of self-attention over all tokens of a patch."""

    PACKAGES: ClassVar[tuple[str, ...]] = ("monai", "einops")

    width: int = 16
    """Feature maps of the finest stage; each of the four has twice those of the one before."""
    hidden: int = 384
    """Numbers that a token is described by, a multiple of ``attention_heads``."""
    attention_heads: int = 6
    grid: tuple[int, ...] = (2, 2, 2)
    """Tokens along each axis of the patches that positions are learned for; interpolated for others."""

    def __post_init__(self) -> None:
        super().__post_init__()
        bounded(self, "width", least=1, most=MOST_FEATURES >> 3)
        bounded(self, "hidden", "attention_heads", least=1, most=MOST_FEATURES)
        bounded(self, "grid", least=1, most=MOST_TOKENS)
        if self.hidden % self.attention_heads:
            raise ValueError(f"hidden must be a multiple of attention_heads, {self.attention_heads}")
        if len(self.grid) != self.dimensions or prod(self.grid) > MOST_TOKENS:
            raise ValueError(f"grid must be {self.dimensions} numbers of at most {MOST_TOKENS} tokens in all")

    @property
    def divisor(self) -> tuple[int, ...]:
        """See ``contracts.Network``."""
        return (TOKEN,) * self.dimensions

    @property
    def features(self) -> tuple[int, ...]:
        """See ``contracts.Network``."""
        return tuple(self.width << stage for stage in range(4))

    @property
    def blocks(self) -> int:
        """See ``contracts.Network``."""
        return 4 * LAYERS

    @property
    def held_beside(self) -> int:
        """See ``contracts.Network``: the numbers of all tokens, as often as layers are handed on."""
        return 2 * self.width

    @classmethod
    def ladder(cls, spacing: Sequence[float], patch_size: Sequence[int]) -> tuple[Spec, ...]:
        """Three sizes. Raises ValueError for a patch of one token, in which there is nothing to attend to."""
        refuse_small(patch_size, TOKEN, f"its tokens are {TOKEN} voxels long")
        grid = tuple(-(-edge // TOKEN) for edge in patch_size)
        return tuple(cls(len(patch_size), width, hidden, heads, grid) for width, hidden, heads in SIZES)

    def made(self, channels: int, heads: int) -> nn.Module:
        """See ``ZooSpec``; logits of one scale."""
        from ._unetr import unetr

        return unetr(self, channels, heads)
