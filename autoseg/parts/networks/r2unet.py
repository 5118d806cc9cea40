"""Recurrent residual U-Net (R2U-Net), 2-D or 3-D (Alom et al. 2018, arXiv 1802.06955).

A recurrent convolution sees its own result: x(0) = f(W * u), x(t) = f(W * u + V * x(t - 1)), where u is what comes in.
Its field of view grows with every recurrence and its weights do not. A stage brings its maps to their number, lets
recurrent convolutions follow one another and adds what they find (residual).

Here a stage is entered by a convolution with a stride instead of maximum pooling, f is instance normalisation and leaky
ReLU instead of batch normalisation and ReLU, as in the other U-Nets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...core.bounds import bounded
from ._stages import UNetSpec

if TYPE_CHECKING:
    from torch import nn

    from ...core.inputs import InputSpec


@dataclass(frozen=True)
class Spec(UNetSpec):
    """``blocks_encoder`` and ``blocks_decoder`` are recurrent convolutions of each stage."""

    recurrences: int = 2
    """How often each of them sees its own result."""

    def __post_init__(self) -> None:
        super().__post_init__()
        bounded(self, "recurrences", least=1, most=16)

    def build(self, inputs: InputSpec, heads: int) -> nn.Module:
        """The network with fresh weights: ``(B, inputs.seen, *patch)`` to a list of logits, finest first.

        Logits of scale i are ``(B, heads, *(patch / product of strides up to i))``; the coarsest stage gives none.
        """
        from ._r2unet import r2unet

        return r2unet(self, inputs.seen, heads)
