"""The torch side of the U-Nets: blocks, and the way up that all of them share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from ._convolution import Conv3d
from ._normalisation import InstanceNorm

if TYPE_CHECKING:
    from ._stages import UNetSpec

PIECE_BYTES = 1 << 28  # of feature maps in float32 at a time, from which logits are made in training
SLOPE = 0.01  # of the leaky ReLU, as in Isensee et al. 2021
CONVOLUTION: dict[int, Callable[..., nn.Module]] = {2: nn.Conv2d, 3: Conv3d}
TRANSPOSED: dict[int, Callable[..., nn.Module]] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
DROPOUT: dict[int, Callable[..., nn.Module]] = {2: nn.Dropout2d, 3: nn.Dropout3d}


class Block(nn.Module):
    """Convolution, instance normalisation, leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, ...], stride: tuple[int, ...]) -> None:
        super().__init__()
        padding = tuple(size // 2 for size in kernel)
        self.convolution = CONVOLUTION[len(kernel)](inputs, outputs, kernel, stride, padding)
        self.norm = InstanceNorm(outputs)

    def forward(self, maps: Tensor) -> Tensor:
        return activate(self.norm(self.convolution(maps)))


class Scales(nn.Module):
    """A network whose way up ends each stage with maps, of which ``heads`` makes logits; both by stage, finest 0."""

    heads: nn.ModuleList

    @property
    def last(self) -> nn.Module:
        """What makes the finest logits of ``maps``."""
        return self.heads[0]

    def forward(self, images: Tensor) -> list[Tensor]:
        return [logits_of(head, maps) for head, maps in zip(self.heads, self._up(images)[::-1])]

    def maps(self, images: Tensor) -> Tensor:
        """The finest feature maps (B, features, *patch)."""
        return self._up(images)[-1]

    def _up(self, images: Tensor) -> list[Tensor]:
        """The decoder's feature maps, coarsest first."""
        raise NotImplementedError


class UNet(Scales):
    """An encoder, given stage by stage, and the usual way up. Lists are indexed by stage, the finest is 0."""

    def __init__(
        self, spec: UNetSpec, encoder: Iterable[nn.Module], heads: int, made: Callable[..., nn.Module] | None = None
    ) -> None:
        """``made`` gives a stage of the decoder for what ``stage`` takes; None: ``stage`` does."""
        super().__init__()
        features, ones = spec.features, (1,) * spec.dimensions
        convolution, transposed = CONVOLUTION[spec.dimensions], TRANSPOSED[spec.dimensions]
        self.encoder = nn.ModuleList(encoder)
        self.up = nn.ModuleList(
            transposed(coarse, fine, stride, stride)
            for fine, coarse, stride in zip(features, features[1:], spec.strides[1:])
        )
        self.decoder = nn.ModuleList(
            (made or stage)(2 * count, count, kernel, ones, blocks)
            for count, kernel, blocks in zip(features, spec.kernels, spec.blocks_decoder)
        )
        self.heads = nn.ModuleList(convolution(count, heads, 1) for count in features[:-1])
        self.dropout = dropout(spec)
        self.apply(start)

    def _up(self, images: Tensor) -> list[Tensor]:
        """The decoder's feature maps, coarsest first."""
        return self._decoded(self._down(images))

    def _down(self, images: Tensor) -> list[Tensor]:
        """The feature maps that the decoder gets of each stage, finest first."""
        return self._encoded(images)

    def _encoded(self, images: Tensor, *beside: Tensor) -> list[Tensor]:
        """``_down``; every stage is handed what is ``beside`` the maps."""
        return encoded(self.encoder, images, *beside, drops=self.dropout)

    def _decoded(self, skips: list[Tensor], *beside: Tensor) -> list[Tensor]:
        """``_up`` from the maps of the encoder, which are gone afterwards."""
        decoded = [skips.pop()]
        for level in reversed(range(len(self.decoder))):
            maps = self.decoder[level](self._joined(level, decoded[-1], skips.pop()), *beside)
            decoded.append(self.dropout[level](maps))
        return decoded[1:]

    def _joined(self, level: int, coarse: Tensor, skip: Tensor) -> Tensor:
        """What a stage of the decoder gets: the ``coarse`` maps from below, enlarged, and those of the encoder."""
        return torch.cat((self.up[level](coarse), skip), 1)


def encoded(
    encoder: nn.ModuleList, images: Tensor, *beside: Tensor, drops: nn.ModuleList | None = None
) -> list[Tensor]:
    """The feature maps of every stage of an encoder, finest first; ``drops`` is the dropout of each."""
    skips = [laid_out(images)]
    for level, encode in enumerate(encoder):
        maps = encode(skips[-1], *beside)
        skips.append(drops[level](maps) if drops is not None else maps)
    return skips[1:]


def dropout(spec: UNetSpec) -> nn.ModuleList:
    """Of each stage, for what it hands on; it has no weights."""
    drop = DROPOUT[spec.dimensions]
    return nn.ModuleList(drop(spec.dropout) if drops else nn.Identity() for drops in spec.drops)


def laid_out(images: Tensor) -> Tensor:
    """With channels last in memory where a network predicts on a processor.

    Prediction is a quarter faster that way; training is not: the norm's backward is slow there.
    """
    if images.device.type != "cpu" or torch.is_grad_enabled():
        return images
    last = torch.channels_last if images.dim() == 4 else torch.channels_last_3d
    return images.clone(memory_format=last)  # images of one channel would count as contiguous either way


def logits_of(head: Any, maps: Tensor) -> Tensor:
    """Logits in float32, whatever the maps are computed in.

    In bfloat16 those of 16 are 1/16 to 1/8 apart, and rounding them is half of what half precision does to label maps.
    """
    if torch.is_grad_enabled():
        return head(maps) if maps.element_size() > 2 else _in_pieces(head, maps)
    with torch.autocast(maps.device.type, enabled=False):
        if maps.device.type != "cpu":
            return head(maps.float())
        # A product of matrices there, since channels come last; torch's convolution of one voxel is ten times slower.
        voxels = maps.float().movedim(1, -1)
        return functional.linear(voxels, head.weight.flatten(1), head.bias).movedim(-1, 1)


def _in_pieces(head: Any, maps: Tensor) -> Tensor:
    """``head`` in float32 with a gradient; what that takes beside the maps exists for a few patches at a time.

    The backward pass makes the copy in float32 anew: kept for all scales, it would be a fifth of what a step keeps.
    """
    together = max(1, PIECE_BYTES // (4 * maps[0].numel()))
    pieces = [
        checkpoint(_finely, head, piece, use_reentrant=False, preserve_rng_state=False)
        for piece in maps.split(together)
    ]
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces)


def _finely(head: Any, maps: Tensor) -> Tensor:
    with torch.autocast(maps.device.type, enabled=False):
        return head(maps.float())


def activate(maps: Tensor) -> Tensor:
    """Leaky ReLU, in place."""
    return functional.leaky_relu(maps, SLOPE, inplace=True)


def stage(inputs: int, outputs: int, kernel: tuple[int, ...], stride: tuple[int, ...], blocks: int) -> nn.Sequential:
    """``blocks`` convolution blocks; the first one carries the stride."""
    first = Block(inputs, outputs, kernel, stride)
    return nn.Sequential(first, *(Block(outputs, outputs, kernel, (1,) * len(kernel)) for _ in range(blocks - 1)))


def start(module: nn.Module) -> None:
    """He et al. 2015 for leaky ReLU, biases zero: as nnU-Net v2 2.8.1."""
    if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        if module.weight.is_meta:  # without values; torch would load a second's worth of libraries to make none
            return
        nn.init.kaiming_normal_(module.weight, a=SLOPE)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
