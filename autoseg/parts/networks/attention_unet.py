"""Attention U-Net: gates weigh skip connections by what coarser stages have seen, 2-D or 3-D (Oktay et al.
2018, arXiv 1804.03999). MONAI's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...core.bounds import bounded
from ...core.names import short
from . import _ladder
from ._stages import divisor
from ._zoo import MOST_FEATURES, ZooSpec, check_stages, topology

if TYPE_CHECKING:
    from torch import nn

EXTRA = "zoo"


@dataclass(frozen=True)
class Spec(ZooSpec):
    """One entry per stage, the finest first."""

    features: tuple[int, ...] = (16, 32, 64, 128)
    """Feature maps of each stage."""
    strides: tuple[tuple[int, ...], ...] = ((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2))
    """Stride with which each stage is entered; the first is all ones."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_stages(self, len(self.features), "features", "strides", most=12)
        bounded(self, "features", least=2, most=MOST_FEATURES)
        bounded(self, "strides", least=1, most=2)
        if any(len(stride) != self.dimensions for stride in self.strides) or max(self.strides[0]) > 1:
            raise ValueError(
                f"strides need {self.dimensions} entries each, the first all ones, found {short(self.strides)}"
            )

    @property
    def divisor(self) -> tuple[int, ...]:
        """See ``contracts.Network``."""
        return divisor(self.strides)

    @property
    def blocks(self) -> int:
        """See ``contracts.Network``: two convolutions of each stage."""
        return 2 * len(self.features)

    @classmethod
    def ladder(cls, spacing: Sequence[float], patch_size: Sequence[int]) -> tuple[Spec, ...]:
        """The widths of the U-Nets. Raises ValueError for a patch that cannot be halved."""
        found, axes = topology(spacing, patch_size), len(patch_size)
        return tuple(
            cls(axes, _ladder.features(width, most, found.stages), found.strides)
            for width, most in _ladder.WIDTHS[axes]
        )

    def made(self, channels: int, heads: int) -> nn.Module:
        """See ``ZooSpec``; logits of one scale."""
        from ._attention_unet import attention_unet

        return attention_unet(self, channels, heads)
