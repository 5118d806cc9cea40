"""U-Net for unpaired modalities, 2-D or 3-D: all share its kernels, each has its own scale and shift of every norm.

Each case has one of several modalities of the same anatomy, a channel of the image each: CT or MR, say. A kernel sees
that one, whichever it is; instance normalisation has learned parameters for each (Dou et al. 2020, IEEE Transactions on
Medical Imaging 39(7), arXiv 2001.03111, who normalise over batches and add a loss that compares modalities).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._stages import UNetSpec

if TYPE_CHECKING:
    from torch import nn

    from ...core.inputs import InputSpec


@dataclass(frozen=True)
class Spec(UNetSpec):
    """All is shared but the norms' scales and shifts."""

    def check_inputs(self, inputs: InputSpec) -> None:
        """See ``contracts.Network``."""
        if inputs.image.channels == 1:
            raise ValueError("each case has one of several modalities, but the images have one channel only")

    def build(self, inputs: InputSpec, heads: int) -> nn.Module:
        """The network with fresh weights: ``(B, inputs.seen, *patch)`` to a list of logits, finest first.

        Logits of scale i are ``(B, heads, *(patch / product of strides up to i))``; the coarsest stage gives none.
        The input ``presence`` says which channel a patch has; without it, one that is not 0 everywhere. Raises
        ValueError for images of one channel.
        """
        from ._unpaired_unet import UnpairedUNet

        self.check_inputs(inputs)
        return UnpairedUNet(self, inputs, heads)
