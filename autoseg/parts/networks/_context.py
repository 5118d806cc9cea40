"""What the coarsest stage of modular_unet ends with, to see further than its kernels. Channels and size stay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from ._blocks import Plain
from ._interpolation import in_bins, resized
from ._norms import Style
from ._unet import CONVOLUTION

# The coarsest stage is 4 to 7 voxels long: of a kernel with the rates 6, 12 and 18 of Chen et al. 2017 only the middle
# would ever lie within it.
RATES = (1, 2, 3)
SAW_TOOTH = ((1, 2, 3), (1, 2, 3))  # "1, 2 and 3" of each three layers, again and again, in Wang et al. 2018
BINS = (1, 2, 3, 6)  # along each axis (Zhao et al. 2017)
POOLED = (2, 3, 5, 6)  # edges of the blocks whose maxima are taken (Gu et al. 2019)


class Aspp(nn.Module):
    """Atrous spatial pyramid pooling (Chen et al. 2017): single voxels, kernels of several rates and the mean of all,
    side by side."""

    def __init__(self, channels: int, kernel: tuple[int, ...], style: Style) -> None:
        super().__init__()
        ones = (1,) * len(kernel)
        make = partial(Plain, channels, channels, stride=ones, style=style)
        self.paths = nn.ModuleList((make(kernel=ones), *(make(kernel=kernel, dilation=rate) for rate in RATES)))
        self.whole = CONVOLUTION[len(kernel)](channels, channels, 1)  # no norm: it would be one of a single voxel
        self.mix = Plain((len(self.paths) + 1) * channels, channels, ones, ones, style)
        self.activate = style.activate

    def forward(self, maps: Tensor) -> Tensor:
        whole = self.activate(self.whole(maps.mean(tuple(range(2, maps.dim())), keepdim=True))).expand_as(maps)
        mixed: Tensor = self.mix(torch.cat([*(path(maps) for path in self.paths), whole], 1))
        return mixed


class HybridDilated(nn.Module):
    """Hybrid dilated convolution (Wang et al. 2018): rates rise and begin anew, so that no voxel is left out between
    those of a kernel. Each group of rates is added to its input."""

    def __init__(self, channels: int, kernel: tuple[int, ...], style: Style) -> None:
        super().__init__()
        make = partial(Plain, channels, channels, kernel, (1,) * len(kernel), style)
        self.groups = nn.ModuleList(nn.Sequential(*(make(rate) for rate in rates)) for rates in SAW_TOOTH)

    def forward(self, maps: Tensor) -> Tensor:
        for group in self.groups:
            maps = maps + group(maps)
        return maps


class PyramidPooling(nn.Module):
    """Pyramid pooling (Zhao et al. 2017): means over 1, 2, 3 and 6 bins along each axis, beside the maps."""

    def __init__(self, channels: int, kernel: tuple[int, ...], style: Style) -> None:
        super().__init__()
        width = max(1, channels // len(BINS))
        self.reduce = nn.ModuleList(CONVOLUTION[len(kernel)](channels, width, 1) for _ in BINS)
        self.mix = Plain(channels + len(BINS) * width, channels, kernel, (1,) * len(kernel), style)
        self.activate = style.activate

    def forward(self, maps: Tensor) -> Tensor:
        size, beside = maps.shape[2:], [maps]
        for reduce, bins in zip(self.reduce, BINS):
            pooled = in_bins(maps, [min(bins, edge) for edge in size])
            beside.append(resized(self.activate(reduce(pooled)), size))
        mixed: Tensor = self.mix(torch.cat(beside, 1))
        return mixed


class ResidualMultiKernelPooling(nn.Module):
    """The pooling of CE-Net (Gu et al. 2019): maxima over blocks of 2, 3, 5 and 6 voxels along each axis, one map of
    each beside the maps; a convolution of single voxels makes as many of them as before."""

    def __init__(self, channels: int, kernel: tuple[int, ...], style: Style) -> None:
        super().__init__()
        self.reduce = nn.ModuleList(CONVOLUTION[len(kernel)](channels, 1, 1) for _ in POOLED)
        self.mix = Plain(channels + len(POOLED), channels, (1,) * len(kernel), (1,) * len(kernel), style)

    def forward(self, maps: Tensor) -> Tensor:
        size, beside = maps.shape[2:], [maps]
        for reduce, edge in zip(self.reduce, POOLED):
            largest = block_maxima(maps, [min(edge, there) for there in size])
            beside.append(resized(reduce(largest), size))
        mixed: Tensor = self.mix(torch.cat(beside, 1))
        return mixed


def block_maxima(maps: Tensor, block: Sequence[int]) -> Tensor:
    """Of (B, channels, *size) over blocks of so many voxels; what is left at the ends counts nowhere.

    Equal to max pooling, whose gradient on a GPU is not deterministic in torch.
    """
    for axis in reversed(range(len(block))):
        count = maps.shape[2 + axis] // block[axis]
        maps = maps.narrow(2 + axis, 0, count * block[axis]).unflatten(2 + axis, (count, block[axis]))
    return maps.amax(tuple(range(3, maps.dim(), 2)))


CONTEXT: dict[str, Callable[[int, tuple[int, ...], Style], nn.Module]] = {
    "aspp": Aspp,
    "hybrid_dilated": HybridDilated,
    "pyramid_pooling": PyramidPooling,
    "residual_multi_kernel_pooling": ResidualMultiKernelPooling,
}
"""Each is made for so many channels and such a kernel."""
