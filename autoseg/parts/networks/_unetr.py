"""The torch side of unetr."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn.functional import interpolate

from ._monai import Headed, without
from .unetr import TOKEN

if TYPE_CHECKING:
    from .unetr import Spec

HANDED_ON = (3, 6, 9)  # layers of the transformer, from 0, that the decoder gets beside the last
LINEAR = {2: "bilinear", 3: "trilinear"}


def unetr(spec: Spec, channels: int, heads: int) -> Headed:
    """See ``unetr.Spec.build``."""
    return Headed(Transformer(spec, channels), spec.dimensions, spec.width, heads)


class Transformer(nn.Module):
    """All but the last layer. MONAI's own way through it is for patches of one size."""

    def __init__(self, spec: Spec, channels: int) -> None:
        super().__init__()
        from monai.networks.nets.unetr import UNETR

        network = UNETR(
            channels,
            1,
            tuple(TOKEN * count for count in spec.grid),
            spec.width,
            spec.hidden,
            4 * spec.hidden,
            spec.attention_heads,
            spatial_dims=spec.dimensions,
        )
        self.grid = spec.grid
        self.tokens, self.layers, self.norm = network.vit.patch_embedding, network.vit.blocks, network.vit.norm
        for layer in self.layers:
            without(layer, "norm_cross_attn")  # MONAI makes one for attention to other tokens, of which there are none
        self.encoders = nn.ModuleList((network.encoder1, network.encoder2, network.encoder3, network.encoder4))
        self.decoders = nn.ModuleList((network.decoder5, network.decoder4, network.decoder3, network.decoder2))

    def forward(self, images: Tensor) -> Tensor:
        """The finest feature maps (B, width, *patch)."""
        embedded = self.tokens.patch_embeddings(images)
        grid = tuple(embedded.shape[2:])
        tokens, handed = embedded.flatten(2).transpose(1, 2) + self._positions(grid), [images]
        for number, layer in enumerate(self.layers):
            tokens = layer(tokens)
            if number in HANDED_ON:
                handed.append(_as_maps(tokens, grid))
        skips = [encode(maps) for encode, maps in zip(self.encoders, handed)]
        maps = _as_maps(self.norm(tokens), grid)
        for decode in self.decoders:
            maps = decode(maps, skips.pop())
        return maps

    def _positions(self, grid: Sequence[int]) -> Tensor:
        """(1, tokens, hidden)."""
        learned: Tensor = self.tokens.position_embeddings
        if tuple(grid) == self.grid:
            return learned
        maps = interpolate(_as_maps(learned, self.grid), size=tuple(grid), mode=LINEAR[len(self.grid)])
        return maps.flatten(2).transpose(1, 2)


def _as_maps(tokens: Tensor, grid: Sequence[int]) -> Tensor:
    """(B, hidden, *grid) of tokens (B, count, hidden)."""
    return tokens.transpose(1, 2).unflatten(2, tuple(grid)).contiguous()
