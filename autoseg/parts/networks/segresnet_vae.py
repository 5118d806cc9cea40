"""SegResNet with a variational autoencoder that rebuilds the image, which regularises its encoder in training
(Myronenko, BraTS 2018, arXiv 1810.11654), 2-D or 3-D. MONAI's; it learns with the objective ``vae``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from ...core.bounds import LARGEST_SIZE, bounded
from ...core.names import short
from . import segresnet
from ._zoo import halvings

if TYPE_CHECKING:
    from torch import nn

EXTRA = "zoo"


@dataclass(frozen=True)
class Spec(segresnet.Spec):
    """Prediction is that of SegResNet."""

    patch_size: tuple[int, ...] = (16, 16, 16)
    """Voxels of the patches that the autoencoder rebuilds: those of the training."""
    latent: int = 128
    """Numbers that a patch is described by, as in the paper."""

    def __post_init__(self) -> None:
        super().__post_init__()
        bounded(self, "patch_size", least=1, most=LARGEST_SIZE)
        bounded(self, "latent", least=1, most=1 << 12)
        if len(self.patch_size) != self.dimensions or any(
            edge % step for edge, step in zip(self.patch_size, self.divisor)
        ):
            raise ValueError(f"patch_size must be a multiple of {self.divisor}, found {short(self.patch_size)}")
        if prod(self.patch_size) > LARGEST_SIZE:
            raise ValueError(f"patch_size asks for more than {LARGEST_SIZE:.1g} voxels")

    @property
    def divisor(self) -> tuple[int, ...]:
        """See ``contracts.Network``: the autoencoder halves the coarsest maps once more."""
        return (1 << len(self.blocks_down),) * self.dimensions

    @classmethod
    def ladder(cls, spacing: Sequence[float], patch_size: Sequence[int]) -> tuple[Spec, ...]:
        """As SegResNet. Raises ValueError for a patch that cannot be halved twice."""
        steps = halvings(patch_size, len(segresnet.DOWN)) - 1
        if steps < 1:
            raise ValueError("its autoencoder needs at least two stages beside the finest, so an axis of 16 voxels")
        divisor = 1 << (steps + 1)
        enlarged = tuple(-(-edge // divisor) * divisor for edge in patch_size)
        return tuple(
            cls(len(patch_size), width, segresnet.DOWN[: steps + 1], (1,) * steps, enlarged)
            for width in segresnet.WIDTHS
        )

    def made(self, channels: int, heads: int) -> nn.Module:
        """See ``ZooSpec``; logits of one scale."""
        from ._segresnet import SegResNetVAE

        return SegResNetVAE(self, channels, heads)
