"""H-DenseUNet, 3-D: a dense U-Net sees slices, another the volume; both are fused (Li et al. 2018, arXiv 1709.07330).

The first sees each slice with its two neighbours. The second sees the image and what the first takes for the labels.
The finest feature maps of both are added and fused by one more convolution. As in the paper the first has a loss of
its own, half of that of the whole; other than there, both are trained together from the beginning, ways up concatenate
and norms are those of the U-Nets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING

from ...core.bounds import bounded
from . import _ladder, _stages, plain_unet

if TYPE_CHECKING:
    from torch import nn

    from ...core.inputs import InputSpec

VOLUMES = "an H-DenseUNet is for volumes: its 3-D half fuses what its 2-D half finds in slices"
GROWTH = (8, 16, 16)  # of each size; Li et al. 2018 have 48 in slices and 32 in volumes
LAYERS = (2, 3, 4)  # of a dense block, the finest first


@dataclass(frozen=True)
class Spec(_stages.UNetSpec):
    """``features`` are those of both halves, ``blocks_encoder`` the layers of each dense block.

    In the half that sees slices, kernels and strides are those without z.
    """

    growth: int = 16
    """Feature maps that each layer of a dense block adds to those before it."""
    separable: bool = False
    """The light form: in the 3-D half each convolution is one of every map by itself and one of single voxels."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dimensions != 3:
            raise ValueError(VOLUMES)
        bounded(self, "growth", least=1, most=1 << 12)
        _stages.refuse_too_many(_stages.weights(self) + self._dense_weights(), "features, kernels, blocks and growth")

    @property
    def blocks(self) -> int:
        """See ``contracts.Network``."""
        return 2 * super().blocks

    @property
    def held_beside(self) -> int:
        """The finest maps of the half that sees slices, and those that a dense block lays side by side."""
        return 2 * self.features[0] + self.growth * self.blocks_encoder[0]

    @property
    def of_slices(self) -> plain_unet.Spec:
        """The shape of the half that sees slices."""
        return plain_unet.Spec(
            self.features,
            tuple(kernel[1:] for kernel in self.kernels),
            tuple(stride[1:] for stride in self.strides),
            self.blocks_encoder,
            self.blocks_decoder,
        )

    def _dense_weights(self) -> int:
        """At most, of the dense blocks of one half."""
        widths = [maps + layers * self.growth for maps, layers in zip(self.features, self.blocks_encoder)]
        layers = zip(widths, self.blocks_encoder, self.kernels)
        return sum(width * (count * self.growth * prod(kernel) + width) for width, count, kernel in layers)

    @classmethod
    def ladder(cls, spacing: Sequence[float], patch_size: Sequence[float]) -> tuple[Spec, ...]:
        """See ``_ladder``. Raises ValueError for slices."""
        if len(spacing) != 3:
            raise ValueError(VOLUMES)
        sizes = _ladder.ladder(cls, spacing, patch_size, blocks_encoder=LAYERS, blocks_decoder=1)
        return tuple(replace(size, growth=growth) for size, growth in zip(sizes, GROWTH))

    def build(self, inputs: InputSpec, heads: int) -> nn.Module:
        """The network with fresh weights: ``(B, inputs.seen, *patch)`` to a list of logits, finest first.

        The second are those of the half that sees slices, as fine as the first. All further ones are those of the
        3-D half: ``(B, heads, *(patch / product of strides))`` of each stage but the finest and the coarsest.
        """
        from ._h_denseunet import HDenseUNet

        return HDenseUNet(self, inputs.seen, heads)
