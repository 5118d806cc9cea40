"""U-Net with an encoder for each modality and one decoder, 2-D or 3-D: fusion in the middle.

What the encoders find is fused at every stage and handed to the decoder (layer-level fusion in the survey of Zhou et
al. 2019). Statistics over the encoders are those of Havaei et al. 2016 (the mean) and Chartsias et al. 2018 (the
maximum).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt
from typing import TYPE_CHECKING

from ...core.fusion import METHODS
from ...core.names import short
from ._stages import UNetSpec

if TYPE_CHECKING:
    from torch import nn

    from ...core.inputs import InputSpec

MOST_ENCODERS = 6  # so that all finest maps of all encoders are among those that prediction counts
WHOLE = 8  # feature maps that processors compute together: others are padded to as many


@dataclass(frozen=True)
class Spec(UNetSpec):
    """``features`` are those of the decoder; ``own_features`` those of one encoder, ``blocks_encoder`` of each."""

    fusion: str = METHODS[0]
    """``concatenation`` of all maps; ``mean_maximum`` over the encoders; ``attention``: a mean with weights that a
    small network gives each encoder at each voxel. Each is then brought to the decoder's number of feature maps."""
    groups: tuple[tuple[int, ...], ...] = ()
    """Channels of the image, from 0, that each encoder sees; empty: one channel each. All see further inputs."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fusion not in METHODS:
            raise ValueError(f"fusion must be one of {', '.join(METHODS)}, found {short(self.fusion)!r}")

    @property
    def blocks(self) -> int:
        """See ``contracts.Network``."""
        return max(2, len(self.groups)) * sum(self.blocks_encoder) + sum(self.blocks_decoder)

    @property
    def held_beside(self) -> int:
        """The finest maps of all encoders, and what fuses them: a copy side by side, their products with weights."""
        encoders = len(self.groups) or MOST_ENCODERS
        return 2 * encoders * self.own_features(encoders)[0]

    def groups_of(self, inputs: InputSpec) -> tuple[tuple[int, ...], ...]:
        """The channels of the image that each encoder sees. Raises ValueError where they are no groups of these."""
        channels = inputs.image.channels
        groups = self.groups or tuple((channel,) for channel in range(channels))
        if channels == 1:
            raise ValueError("there is an encoder for each modality, but the images have one channel only")
        if len(groups) > MOST_ENCODERS:
            raise ValueError(
                f"{len(groups)} encoders are more than {MOST_ENCODERS}: let channels share one (--groups 'A,B;C')"
            )
        if len(groups) < 2 or not all(groups):
            raise ValueError("there must be at least two groups, of at least one channel each")
        if sorted(channel for group in groups for channel in group) != list(range(channels)):
            raise ValueError(
                f"each of the {channels} channels must be in one group, found {short(groups)} (counted from 0)"
            )
        return groups

    def check_inputs(self, inputs: InputSpec) -> None:
        """See ``contracts.Network``."""
        self.groups_of(inputs)

    def own_features(self, encoders: int) -> tuple[int, ...]:
        """Of each stage of one of so many encoders: together they compute about as much as one of ``features`` would.

        A convolution costs the square of its feature maps, so an encoder has 1/sqrt(encoders) of them.
        """
        exact = [count / sqrt(encoders) for count in self.features]
        return tuple(WHOLE * round(count / WHOLE) or ceil(count) for count in exact)

    def build(self, inputs: InputSpec, heads: int) -> nn.Module:
        """The network with fresh weights: ``(B, inputs.seen, *patch)`` to a list of logits, finest first.

        Logits of scale i are ``(B, heads, *(patch / product of strides up to i))``; the coarsest stage gives none.
        Raises ValueError for inputs that it is not for.
        """
        from ._multi_encoder_unet import MultiEncoderUNet

        return MultiEncoderUNet(self, inputs, heads)
