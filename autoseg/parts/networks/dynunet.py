"""DynUNet: MONAI's U-Net of nnU-Net's shape, plain or residual, 2-D or 3-D (Isensee et al. 2021; Futrega et al. 2021,
arXiv 2110.03352)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...core.bounds import bounded
from . import _ladder
from ._stages import divisor
from ._zoo import MOST_FEATURES, ZooSpec, check_stages, topology

if TYPE_CHECKING:
    from torch import nn

EXTRA = "zoo"
FEWEST_STAGES = 3


@dataclass(frozen=True)
class Spec(ZooSpec):
    """One entry per stage, the finest first; a stage has two convolutions. Logits of every stage but the coarsest."""

    features: tuple[int, ...] = (16, 32, 64)
    """Feature maps of each stage."""
    kernels: tuple[tuple[int, ...], ...] = ((3, 3, 3),) * 3
    """Kernel of each stage's convolutions, odd."""
    strides: tuple[tuple[int, ...], ...] = ((1, 1, 1), (2, 2, 2), (2, 2, 2))
    """Stride with which each stage is entered; the first is all ones."""
    residual: bool = False
    """Whether what enters two convolutions is added to what comes out of them, on the way down."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_stages(self, len(self.features), "features", "kernels", "strides", least=FEWEST_STAGES, most=12)
        bounded(self, "features", least=1, most=MOST_FEATURES)
        bounded(self, "kernels", least=1, most=15)
        bounded(self, "strides", least=1, most=2)
        if any(len(axes) != self.dimensions for axes in (*self.kernels, *self.strides)) or max(self.strides[0]) > 1:
            raise ValueError(f"kernels and strides need {self.dimensions} entries each, the first stride all ones")
        if any(edge % 2 == 0 for kernel in self.kernels for edge in kernel):
            raise ValueError(f"kernels must be odd, found {self.kernels}")

    @property
    def divisor(self) -> tuple[int, ...]:
        """See ``contracts.Network``."""
        return divisor(self.strides)

    @property
    def blocks(self) -> int:
        """See ``contracts.Network``."""
        return 2 * len(self.features)

    @classmethod
    def ladder(cls, spacing: Sequence[float], patch_size: Sequence[int]) -> tuple[Spec, ...]:
        """The widths of the U-Nets. Raises ValueError for a patch that cannot be halved twice."""
        found, axes = topology(spacing, patch_size), len(patch_size)
        if found.stages < FEWEST_STAGES:
            raise ValueError(f"it needs three stages, so an axis of {4 * _ladder.SMALLEST_EDGE} voxels")
        return tuple(
            cls(axes, _ladder.features(width, most, found.stages), found.kernels, found.strides)
            for width, most in _ladder.WIDTHS[axes]
        )

    def made(self, channels: int, heads: int) -> nn.Module:
        """See ``ZooSpec``."""
        from ._dynunet import dynunet

        return dynunet(self, channels, heads)
