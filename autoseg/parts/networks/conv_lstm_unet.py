"""U-Net of slices whose feature maps a convolutional LSTM connects through the volume, 3-D (Chen et al. 2016, NIPS).

A 2-D U-Net sees each slice by itself. A convolutional LSTM (Shi et al. 2015) goes over its finest feature maps slice by
slice, another goes the other way, so that each slice is decided in the context of all. It is for volumes of thick
slices. Other than in the paper the 2-D network is one U-Net, both are trained together from the beginning, and what the
LSTMs find is added to the feature maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import _ladder, _stages, plain_unet
from ._topology import Topology

if TYPE_CHECKING:
    from torch import nn

    from ...core.inputs import InputSpec

KERNEL = 3  # of the LSTM, voxels along y and x
VOLUMES = "a conv_lstm_unet is for volumes: its LSTM goes from slice to slice"


@dataclass(frozen=True)
class Spec(_stages.UNetSpec):
    """Kernels and strides are 1 along z. Each direction of the LSTM has half of the finest feature maps."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dimensions != 3:
            raise ValueError(VOLUMES)
        if any(axes[0] != 1 for axes in (*self.kernels, *self.strides)):
            raise ValueError("kernels and strides must be 1 along z: slices are seen one by one")
        if self.features[0] % 2:
            raise ValueError(
                f"features: the two directions of the LSTM share the finest, an even number, not {self.features[0]}"
            )
        of_lstm = 2 * 3 * self.features[0] ** 2 * KERNEL**2  # of the four gates of both directions
        _stages.refuse_too_many(_stages.weights(self) + of_lstm, "features, kernels and blocks")

    @property
    def of_slices(self) -> plain_unet.Spec:
        """The U-Net that sees each slice."""
        return plain_unet.Spec(
            self.features,
            tuple(kernel[1:] for kernel in self.kernels),
            tuple(stride[1:] for stride in self.strides),
            self.blocks_encoder,
            self.blocks_decoder,
            self.dropout,
        )

    @classmethod
    def ladder(cls, spacing: Sequence[float], patch_size: Sequence[float]) -> tuple[Spec, ...]:
        """See ``_ladder``: the slices of the patch decide. Raises ValueError for a patch that is a slice."""
        if len(spacing) != 3:
            raise ValueError(VOLUMES)
        flat = _ladder.topology(spacing[1:], patch_size[1:])
        strides, kernels = (tuple((1, *axes) for axes in each) for each in (flat.strides, flat.kernels))
        return tuple(
            _ladder.unet(cls, Topology(strides, kernels, ()), _ladder.features(width, most, flat.stages), (2,), 2)
            for width, most in _ladder.WIDTHS[3]
        )

    def build(self, inputs: InputSpec, heads: int) -> nn.Module:
        """The network with fresh weights: ``(B, inputs.seen, *patch)`` to a list of logits, finest first.

        Logits of scale i are ``(B, heads, *(patch / product of strides up to i))``; the coarsest stage gives none.
        """
        from ._conv_lstm_unet import ConvLSTMUNet

        return ConvLSTMUNet(self, inputs.seen, heads)
