"""U-Net++: nested decoders, each supervised at full resolution, 2-D or 3-D (Zhou et al. 2018, arXiv 1807.10165).
MONAI's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ...core.bounds import bounded
from ._zoo import MOST_FEATURES, ZooSpec, check_stages, refuse_small

if TYPE_CHECKING:
    from torch import nn

EXTRA = "zoo"
STAGES = 5
DECODERS = STAGES - 1
WIDTHS = (8, 16, 32)


@dataclass(frozen=True)
class Spec(ZooSpec):
    """Five stages. Its logits are those of the four nested decoders, the deepest first, all of the patch's shape."""

    features: tuple[int, ...] = tuple(16 << stage for stage in range(STAGES))
    """Feature maps of each stage."""
    decoder: int = DECODERS
    """Whose logits are predicted, of those that end at full resolution: the deepest, or one that does with less of the
    network. All of them are trained."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_stages(self, STAGES, "features")
        bounded(self, "features", least=2, most=MOST_FEATURES)
        bounded(self, "decoder", least=1, most=DECODERS)

    @property
    def divisor(self) -> tuple[int, ...]:
        """See ``contracts.Network``."""
        return (1 << (STAGES - 1),) * self.dimensions

    @property
    def prunings(self) -> tuple[Spec, ...]:
        """The same weights, of which prediction needs fewer; the smallest first."""
        return tuple(replace(self, decoder=decoder) for decoder in range(1, self.decoder))

    @property
    def blocks(self) -> int:
        """See ``contracts.Network``: two convolutions of each node."""
        return 2 * 15

    @property
    def held_beside(self) -> int:
        """See ``contracts.Network``: the maps of all nodes, most of them twice, side by side in front of a decoder."""
        return 20 * self.features[0]

    @classmethod
    def ladder(cls, spacing: Sequence[float], patch_size: Sequence[int]) -> tuple[Spec, ...]:
        """Three widths, of which the last is the paper's. Raises ValueError for a patch that is too small."""
        refuse_small(patch_size, 1 << (STAGES - 1), "it halves the patch four times")
        return tuple(cls(len(patch_size), tuple(width << stage for stage in range(STAGES))) for width in WIDTHS)

    def made(self, channels: int, heads: int) -> nn.Module:
        """See ``ZooSpec``.

        The logits of the shallowest decoder are there twice: training gives the last scale of a list no weight.
        """
        from ._unet_plus_plus import UNetPlusPlus

        return UNetPlusPlus(self, channels, heads)
