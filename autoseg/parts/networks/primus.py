"""Plain transformer with a light head of convolutions, 2-D or 3-D (Primus; Wald et al. 2025, arXiv 2503.01835).

The patch is cut into tokens, a transformer lets each see all, and transposed convolutions bring the tokens back to
voxels: there are no skip connections, so that attention has to do the work. As there, positions are rotary; other than
there, no positions are learned beside them, no branch is dropped at random, and the head's norms and activations are
those of the U-Nets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod
from typing import TYPE_CHECKING

from ...core.bounds import bounded
from . import _ladder, _stages, _transformer_size

if TYPE_CHECKING:
    from torch import nn

    from ...core.inputs import InputSpec

STAGES = 4  # tokens of at most 8 voxels along an axis, as in the paper
SIZES = ((198, 6, 3, 16), (396, 12, 6, 32), (864, 16, 12, 32))
"""Width, layers, heads of attention, finest feature maps. The last two are Primus-S and Primus-M."""
HELD = 12  # times the tokens' width that a layer holds while it predicts: itself, what attention sees, hidden maps


@dataclass(frozen=True)
class Spec:
    """Entries of ``features`` and ``strides`` are of the head's steps, the finest first."""

    features: tuple[int, ...]
    """Feature maps that each step of the head gives."""
    strides: tuple[tuple[int, ...], ...]
    """How many voxels each step makes of one along each axis; their product is a token."""
    width: int = 396
    """Feature maps of a token."""
    layers: int = 12
    attention_heads: int = 6
    """They share the maps of a token."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.features) <= _stages.MOST_STAGES or len(self.strides) != len(self.features):
            raise ValueError(
                f"features and strides need one entry for each step of the head, 1 to {_stages.MOST_STAGES}; found "
                f"{len(self.features)} and {len(self.strides)}"
            )
        if {len(stride) for stride in self.strides} not in ({2}, {3}):
            raise ValueError("every stride needs 2 entries (2-D) or 3 entries (3-D)")
        bounded(self, "features", least=1, most=1 << 16)
        bounded(self, "strides", least=1, most=1 << 10)
        bounded(self, "width", least=1, most=_transformer_size.WIDEST)
        _transformer_size.check(self, self.width, self.dimensions)
        steps = zip(self.features, (*self.features[1:], self.width), self.strides)
        head = sum(fine * coarse * prod(stride) for fine, coarse, stride in steps)
        count = head + self.width * prod(self.divisor) + _transformer_size.weights(self.layers, self.width)
        _stages.refuse_too_many(count, "features, strides, width and layers")

    @property
    def dimensions(self) -> int:
        """2 or 3."""
        return len(self.strides[0])

    @property
    def divisor(self) -> tuple[int, ...]:
        """A token; a patch must be a multiple of it along each axis."""
        return _stages.divisor(self.strides)

    @property
    def blocks(self) -> int:
        """See ``contracts.Network``."""
        return 4 * self.layers + len(self.features)

    @property
    def held_beside(self) -> int:
        """The tokens in the transformer, as if they were finest feature maps."""
        return ceil(HELD * self.width / prod(self.divisor))

    @classmethod
    def ladder(cls, spacing: Sequence[float], patch_size: Sequence[float]) -> tuple[Spec, ...]:
        """Tokens are shorter along coarse and short axes: they grow as the strides of a U-Net do.

        Raises ValueError for a patch that cannot be cut into several tokens.
        """
        topology = _ladder.topology(spacing, patch_size, STAGES)
        if topology.stages == 1:
            raise ValueError(
                f"patch_size {','.join(f'{edge:g}' for edge in patch_size)} is too small to be cut into tokens, which "
                f"would be one voxel: it needs two axes of {2 * _ladder.SMALLEST_EDGE} voxels"
            )
        strides = topology.strides[1:]
        return tuple(
            cls(_ladder.features(finest, width, len(strides)), strides, width, layers, heads)
            for width, layers, heads, finest in SIZES
        )

    def build(self, inputs: InputSpec, heads: int) -> nn.Module:
        """The network with fresh weights: ``(B, inputs.seen, *patch)`` to a list of one: ``(B, heads, *patch)``."""
        from ._primus import Primus

        return Primus(self, inputs.seen, heads)
