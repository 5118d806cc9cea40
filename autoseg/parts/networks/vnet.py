"""V-Net: residual stages of kernels of five, strided convolutions instead of pooling, 2-D or 3-D (Milletari et al.
2016, arXiv 1606.04797). Built of MONAI's stages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...core.bounds import bounded
from ._zoo import MOST_BLOCKS, MOST_FEATURES, ZooSpec, check_stages, halvings

if TYPE_CHECKING:
    from torch import nn

    from ...core.inputs import InputSpec

EXTRA = "zoo"
WIDTHS = (4, 8, 16)
CONVOLUTIONS = (1, 2, 3, 3, 3)  # of each stage, as in the paper


@dataclass(frozen=True)
class Spec(ZooSpec):
    """Each stage has twice the feature maps of the one before; a stage on the way up has twice those on the way down.

    The first stage adds the image, repeated, to what it finds: channels of zeros are added to the image until their
    number divides ``width``.
    """

    width: int = 16
    """Feature maps of the finest stage on the way down."""
    convolutions: tuple[int, ...] = CONVOLUTIONS
    """Of each stage, on the way down and up; the first has one."""
    dropout: float = 0.5
    """Share of the feature maps that the two coarsest decoders and all skip connections lose in training."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_stages(self, len(self.convolutions), "convolutions", most=len(CONVOLUTIONS))
        bounded(self, "width", least=2, most=MOST_FEATURES >> len(self.convolutions))
        bounded(self, "convolutions", least=1, most=MOST_BLOCKS)
        bounded(self, "dropout", least=0, below=1)

    @property
    def divisor(self) -> tuple[int, ...]:
        """See ``contracts.Network``."""
        return (1 << (len(self.convolutions) - 1),) * self.dimensions

    @property
    def features(self) -> tuple[int, ...]:
        """See ``contracts.Network``: of the way up."""
        return tuple(2 * self.width << stage for stage in range(len(self.convolutions)))

    @property
    def blocks(self) -> int:
        """See ``contracts.Network``."""
        return sum(self.convolutions)

    @classmethod
    def ladder(cls, spacing: Sequence[float], patch_size: Sequence[int]) -> tuple[Spec, ...]:
        """Three widths, of which the last is the paper's. Raises ValueError for a patch that cannot be halved."""
        steps = halvings(patch_size, len(CONVOLUTIONS) - 1)
        return tuple(cls(len(patch_size), width, CONVOLUTIONS[: steps + 1]) for width in WIDTHS)

    def check_inputs(self, inputs: InputSpec) -> None:
        """See ``contracts.Network``."""
        super().check_inputs(inputs)
        self.padded(inputs.seen)

    def padded(self, channels: int) -> int:
        """So many channels that they divide ``width``. Raises ValueError for more channels than ``width``."""
        if channels > self.width:
            raise ValueError(
                f"its first stage has {self.width} feature maps, to which {channels} channels cannot be added"
            )
        return next(count for count in range(channels, self.width + 1) if self.width % count == 0)

    def made(self, channels: int, heads: int) -> nn.Module:
        """See ``ZooSpec``; logits of one scale. Raises ValueError for more channels than ``width``."""
        from ._vnet import vnet

        return vnet(self, channels, self.padded(channels), heads)
