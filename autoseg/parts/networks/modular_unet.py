"""U-Net with switches, 2-D or 3-D: block, encoder, attention, context, norm and activation, which combine freely.

As it is made by default it is a plain U-Net. Whatever is switched on has its source where it is defined.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from . import _ladder, _switches
from ._stages import UNetSpec

if TYPE_CHECKING:
    from torch import nn

    from ...core.inputs import InputSpec


@dataclass(frozen=True)
class Spec(UNetSpec):
    """``blocks_encoder`` and ``blocks_decoder`` count blocks of the kind that is chosen; layers, of dense ones."""

    block: str = "plain"
    """What stages are made of: ``plain`` (convolution, norm, activation), ``residual`` (two convolutions beside a
    shortcut), ``dense`` (all maps go on to all further layers), ``inception`` (kernels of several sizes side by side),
    ``separable`` (each map by itself, then each voxel by itself), ``recurrent_residual``, ``deformable`` (all but the
    first look up the entries of their kernel at offsets that they learn)."""
    encoder: str = "unet"
    """Blocks on the way down: ``unet`` (as ``block`` says), or the kind and, when it is planned, the numbers of
    ``vgg``, ``resnet`` or ``densenet``."""
    attention: str = "none"
    """What weighs the maps that the way up gets: ``none``, ``spatial`` (a gate for each voxel), ``channel`` (squeeze
    and excitation), ``mixed`` (both), ``non_local`` (voxels look at each other, in the two coarsest stages)."""
    context: str = "none"
    """What the coarsest stage ends with: ``none``, ``aspp``, ``hybrid_dilated``, ``pyramid_pooling``,
    ``residual_multi_kernel_pooling``."""
    norm: str = "instance"
    """``instance``, ``group`` (of at most 8 groups) or ``batch``."""
    activation: str = "leaky_relu"
    """``leaky_relu``, ``relu``, ``elu``, ``gelu`` or ``silu``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _switches.check(self)

    @property
    def block_down(self) -> str:
        """The kind of block on the way down."""
        return _switches.block_down(self)

    @property
    def held_beside(self) -> int:
        """See ``contracts.Network``."""
        return _switches.held_beside(self)

    def with_fields(self, **fields: Any) -> Spec:
        """See ``contracts.Network``: an encoder comes with its numbers of blocks, unless these are named, too."""
        numbers = _switches.ENCODERS.get(str(fields.get("encoder")), (None, None))[1]
        if numbers is not None and "blocks_encoder" not in fields:
            fields["blocks_encoder"] = _ladder.blocks(numbers, len(self.features))
        return replace(self, **fields)

    def build(self, inputs: InputSpec, heads: int) -> nn.Module:
        """The network with fresh weights: ``(B, inputs.seen, *patch)`` to a list of logits, finest first.

        Logits of scale i are ``(B, heads, *(patch / product of strides up to i))``; the coarsest stage gives none.
        """
        from ._modular_unet import ModularUNet

        return ModularUNet(self, inputs.seen, heads)
