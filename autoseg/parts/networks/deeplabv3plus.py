"""DeepLabv3+, 2-D or 3-D (Chen et al. 2018, ECCV): a residual encoder, atrous spatial pyramid pooling, a small decoder.

Atrous spatial pyramid pooling (ASPP) looks at the coarsest maps with several fields of view at once: single voxels,
kernels whose voxels lie some way apart (atrous, or dilated), and the mean of the whole patch. What results is
interpolated to a finer stage, joined with a few maps of that stage, and decoded there; logits are interpolated to the
patch.

Here the encoder is that of ``residual_unet``. Instance normalisation takes the mean from every map, and what the mean
of the patch says is the same everywhere: it is therefore added after the norm, which would remove it. Rates are such
shares of the coarsest maps as 6, 12 and 18 voxels are in the paper, whose maps are 33 wide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, prod
from typing import TYPE_CHECKING

from ...core.bounds import bounded
from . import _ladder
from ._stages import EncoderSpec, refuse_too_many, weights
from ._topology import Topology, find_topology

if TYPE_CHECKING:
    from torch import nn

    from ...core.inputs import InputSpec

MOST_STAGES = 5  # the coarsest maps are 16 times coarser than the patch, as in the paper
COARSEST_EDGE = 8  # voxels that every axis keeps there, so that there is something to look at with several views
LOW_LEVEL = 2  # the stage that is decoded: 4 times coarser than the patch, as in the paper
RATES, RATES_OF = (6, 12, 18), 33  # voxels, of maps so many voxels wide
MOST_RATES = 16


@dataclass(frozen=True)
class Spec(EncoderSpec):
    """``blocks_encoder`` are residual blocks, of two convolutions each."""

    rates: tuple[tuple[int, ...], ...] = ()
    """Dilation of each atrous convolution of the pyramid, voxels of the coarsest maps along each axis."""
    low_level: int = 0
    """Number of the stage that the decoder sees beside the pyramid, counted from 0, the finest."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.rates) > MOST_RATES:
            raise ValueError(f"rates: {len(self.rates)} are more than {MOST_RATES}")
        if any(len(rate) != self.dimensions for rate in self.rates):
            raise ValueError(f"rates: each needs {self.dimensions} entries, one per axis")
        bounded(self, "rates", least=1, most=1 << 10)
        bounded(self, "low_level", least=0, most=len(self.features) - 2)
        pyramid = self.features[-1] * prod(self.kernels[-1]) + self.width
        decoder = (2 * self.width + self.low_level_width) * prod(self.kernels[self.low_level])
        count = weights(self) + self.width * (len(self.rates) * pyramid + decoder)
        refuse_too_many(count, "features, kernels, blocks and rates")

    @classmethod
    def ladder(cls, spacing: Sequence[float], patch_size: Sequence[float]) -> tuple[Spec, ...]:
        """See ``_ladder``: the patch decides how often which axis is halved, up to four times, and the rates."""
        topology = _topology(spacing, patch_size)
        coarsest = [edge / step for edge, step in zip(topology.patch_size, topology.divisor)]
        rates = tuple(tuple(max(1, round(edge * rate / RATES_OF)) for edge in coarsest) for rate in RATES)
        ladder = _ladder.encoder_ladder(cls, topology, (1, 3, 4, 6))
        return tuple(replace(size, rates=rates, low_level=min(LOW_LEVEL, topology.stages - 2)) for size in ladder)

    @property
    def width(self) -> int:
        """Maps of the pyramid and of the decoder."""
        return self.features[-2]

    @property
    def low_level_width(self) -> int:
        """Maps to which those of the finer stage are brought: 48 beside 256, as in the paper."""
        return ceil(self.width * 48 / 256)

    def build(self, inputs: InputSpec, heads: int) -> nn.Module:
        """The network with fresh weights: ``(B, inputs.seen, *patch)`` to a list of ``(B, heads, *patch)`` alone."""
        from ._deeplabv3plus import DeepLabV3Plus

        return DeepLabV3Plus(self, inputs.seen, heads)


def _topology(spacing: Sequence[float], patch_size: Sequence[float]) -> Topology:
    topology = find_topology(spacing, patch_size, COARSEST_EDGE, MOST_STAGES)
    return topology if topology.is_possible else _ladder.topology(spacing, patch_size)
