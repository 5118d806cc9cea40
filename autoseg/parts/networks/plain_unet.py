"""Plain convolutional U-Net, 2-D or 3-D (Ronneberger et al. 2015; the shape that Isensee et al. 2021 plan)."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Spec:
    """One entry per stage, the finest stage first; a stage is a few convolutions at one resolution."""

    features: tuple[int, ...]
    """Feature maps of each stage."""
    kernels: tuple[tuple[int, ...], ...]
    """Kernel of each stage's convolutions, voxels per axis, odd; two entries for 2-D."""
    strides: tuple[tuple[int, ...], ...]
    """Stride with which each stage is entered; the first is all ones as a rule."""
    blocks_encoder: tuple[int, ...]
    """Convolutions of each stage on the way down."""
    blocks_decoder: tuple[int, ...]
    """Convolutions of each stage on the way up: one entry fewer, since the coarsest stage has no way up."""

    def __post_init__(self) -> None:
        stages = len(self.features)
        if stages < 2:
            raise ValueError(f"a U-Net needs at least two stages, found features {self.features}")
        lengths = {
            "kernels": len(self.kernels),
            "strides": len(self.strides),
            "blocks_encoder": len(self.blocks_encoder),
        }
        wrong = {name: length for name, length in lengths.items() if length != stages}
        if wrong or len(self.blocks_decoder) != stages - 1:
            raise ValueError(
                f"{stages} stages need {stages} kernels, strides and blocks_encoder and {stages - 1} blocks_decoder; "
                f"found {lengths | {'blocks_decoder': len(self.blocks_decoder)}}"
            )
        if len({len(axes) for axes in (*self.kernels, *self.strides)}) != 1 or self.dimensions not in (2, 3):
            raise ValueError("every kernel and stride needs 2 entries (2-D) or 3 entries (3-D)")
        if any(size < 1 or size % 2 == 0 for kernel in self.kernels for size in kernel):
            raise ValueError(f"kernels must be odd, found {self.kernels}")
        counts = (
            *self.features,
            *self.blocks_encoder,
            *self.blocks_decoder,
            *(s for axes in self.strides for s in axes),
        )
        if min(counts) < 1:
            raise ValueError("features, strides and blocks must be at least 1")

    @property
    def dimensions(self) -> int:
        """2 or 3."""
        return len(self.strides[0])

    @property
    def divisor(self) -> tuple[int, ...]:
        """A patch must be a multiple of this along each axis."""
        return tuple(prod(stride) for stride in zip(*self.strides))

    def build(self, channels: int, heads: int) -> nn.Module:
        """The network with fresh weights: ``(B, channels, *patch)`` to a list of logits, finest first.

        Logits of scale i are ``(B, heads, *(patch / product of strides up to i))``; the coarsest stage gives none.
        """
        from ._plain_unet import PlainUNet

        return PlainUNet(self, channels, heads)
