"""The torch side of fcn: coarse scores are interpolated and added to finer ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from ._interpolation import resized
from ._unet import CONVOLUTION, encoded, logits_of, stage, start

if TYPE_CHECKING:
    from .fcn import Spec


class FCN(nn.Module):
    """``heads`` gives scores of the last stages of ``encoder``, the finest first."""

    def __init__(self, spec: Spec, channels: int, heads: int) -> None:
        super().__init__()
        down = zip((channels, *spec.features), spec.features, spec.kernels, spec.strides, spec.blocks_encoder)
        self.encoder = nn.ModuleList(stage(*choices) for choices in down)
        scored = spec.features[spec.finest_scored :]
        self.heads = nn.ModuleList(CONVOLUTION[spec.dimensions](count, heads, 1) for count in scored)
        self.apply(start)

    def forward(self, images: Tensor) -> list[Tensor]:
        maps = encoded(self.encoder, images)[-len(self.heads) :]
        sums: list[Tensor] = []
        for head, found in zip([*self.heads][::-1], maps[::-1]):
            scores = logits_of(head, found)
            sums.append(scores + resized(sums[-1], scores.shape[2:]) if sums else scores)
        if sums[-1].shape[2:] != images.shape[2:]:
            sums.append(resized(sums[-1], images.shape[2:]))
        return sums[::-1]
