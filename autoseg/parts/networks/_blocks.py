"""What the stages of modular_unet are made of: one table of kinds, each of which makes a stage.

A stage takes (B, inputs, *size) to (B, outputs, *(size / stride)), in ``blocks`` blocks of which the first one carries
the stride.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn

from ._deformable import DeformableConvolution
from ._norms import Style
from ._residual_unet import AveragePool
from ._switches import growth
from ._unet import CONVOLUTION

Vector = tuple[int, ...]
RECURRENCES = 2  # times that a recurrent convolution sees what it gave (t = 2 in Alom et al. 2018)


class Plain(nn.Module):
    """Convolution, norm, activation."""

    def __init__(
        self, inputs: int, outputs: int, kernel: Vector, stride: Vector, style: Style, dilation: int = 1
    ) -> None:
        super().__init__()
        padding = tuple(dilation * (size // 2) for size in kernel)
        self.convolution = CONVOLUTION[len(kernel)](inputs, outputs, kernel, stride, padding, dilation)
        self.norm = style.norm(outputs)
        self.activate = style.activate

    def forward(self, maps: Tensor) -> Tensor:
        return self.activate(self.norm(self.convolution(maps)))


class Residual(nn.Module):
    """Two convolutions whose normalised result is added to the input, then the activation: ``residual_unet``'s block.

    Where the input is larger or has other channels, it is averaged over the stride and projected.
    """

    def __init__(self, inputs: int, outputs: int, kernel: Vector, stride: Vector, style: Style) -> None:
        super().__init__()
        convolution, padding = CONVOLUTION[len(kernel)], tuple(size // 2 for size in kernel)
        self.first = Plain(inputs, outputs, kernel, stride, style)
        self.convolution = convolution(outputs, outputs, kernel, padding=padding)
        self.norm = style.norm(outputs)
        self.shortcut = nn.Sequential(*_smaller(stride))
        if inputs != outputs:
            self.shortcut.extend((convolution(inputs, outputs, 1, bias=False), style.norm(outputs)))
        self.activate = style.activate

    def forward(self, maps: Tensor) -> Tensor:
        return self.activate(self.norm(self.convolution(self.first(maps))) + self.shortcut(maps))


class Separable(nn.Module):
    """Depthwise convolution, one kernel per map, and one of single voxels (Chollet 2017), norm, activation."""

    def __init__(self, inputs: int, outputs: int, kernel: Vector, stride: Vector, style: Style) -> None:
        super().__init__()
        convolution, padding = CONVOLUTION[len(kernel)], tuple(size // 2 for size in kernel)
        self.depthwise = convolution(inputs, inputs, kernel, stride, padding, groups=inputs, bias=False)
        self.pointwise = convolution(inputs, outputs, 1)
        self.norm = style.norm(outputs)
        self.activate = style.activate

    def forward(self, maps: Tensor) -> Tensor:
        return self.activate(self.norm(self.pointwise(self.depthwise(maps))))


class Inception(nn.Module):
    """Three paths side by side: a voxel, a kernel, two kernels; each begins with a convolution of single voxels.

    The paths are those of Inception-ResNet-A (Szegedy et al. 2017). They have a quarter, a half and a quarter of the
    maps.
    """

    def __init__(self, inputs: int, outputs: int, kernel: Vector, stride: Vector, style: Style) -> None:
        super().__init__()
        ones, quarter = (1,) * len(kernel), outputs // 4
        make = partial(Plain, stride=ones, style=style)
        half = outputs - 2 * quarter
        self.smaller = nn.Sequential(*_smaller(stride))
        self.paths = nn.ModuleList(
            nn.Sequential(make(inputs, width, ones), *(make(width, width, kernel) for _ in range(kernels)))
            for kernels, width in enumerate((quarter, half, quarter))
        )

    def forward(self, maps: Tensor) -> Tensor:
        maps = self.smaller(maps)
        return torch.cat([path(maps) for path in self.paths], 1)


class RecurrentResidual(nn.Module):
    """A projection, and added to it two convolutions that each see, again and again, their input and what they gave.

    The unit of R2U-Net (Alom et al. 2018), but that one kernel sees both; in ``r2unet`` each has its own, as there.
    """

    def __init__(self, inputs: int, outputs: int, kernel: Vector, stride: Vector, style: Style) -> None:
        super().__init__()
        self.project = nn.Sequential(*_smaller(stride), CONVOLUTION[len(kernel)](inputs, outputs, 1))
        self.recurrent = nn.ModuleList(Plain(outputs, outputs, kernel, (1,) * len(kernel), style) for _ in range(2))

    def forward(self, maps: Tensor) -> Tensor:
        projected = self.project(maps)
        maps = projected
        for again in self.recurrent:
            found = again(maps)
            for _ in range(RECURRENCES):
                found = again(maps + found)
            maps = found
        return projected + maps


class Dense(nn.Module):
    """A whole stage: every layer sees all maps before it (Huang et al. 2017); then each voxel's are combined.

    As between the dense blocks of that paper, a stride is an average over it.
    """

    def __init__(self, inputs: int, outputs: int, kernel: Vector, stride: Vector, blocks: int, style: Style) -> None:
        super().__init__()
        ones, new = (1,) * len(kernel), growth(outputs)
        self.smaller = nn.Sequential(*_smaller(stride))
        self.layers = nn.ModuleList(Plain(inputs + layer * new, new, kernel, ones, style) for layer in range(blocks))
        self.mix = Plain(inputs + blocks * new, outputs, ones, ones, style)

    def forward(self, maps: Tensor) -> Tensor:
        maps = self.smaller(maps)
        for layer in self.layers:
            maps = torch.cat((maps, layer(maps)), 1)
        mixed: Tensor = self.mix(maps)
        return mixed


class Stage(Protocol):
    """Makes the stage."""

    def __call__(
        self, inputs: int, outputs: int, kernel: Vector, stride: Vector, blocks: int, style: Style
    ) -> nn.Module: ...


def _chained(kind: Callable[..., nn.Module]) -> Stage:
    """Blocks of one kind, one after the other."""

    def stage(inputs: int, outputs: int, kernel: Vector, stride: Vector, blocks: int, style: Style) -> nn.Module:
        first = kind(inputs, outputs, kernel, stride, style)
        ones = (1,) * len(kernel)
        return nn.Sequential(first, *(kind(outputs, outputs, kernel, ones, style) for _ in range(blocks - 1)))

    return stage


class Deformable(nn.Module):
    """Deformable convolution, norm, activation (``_deformable``)."""

    def __init__(self, maps: int, kernel: Vector, style: Style) -> None:
        super().__init__()
        self.convolution = DeformableConvolution(maps, maps, kernel)
        self.norm = style.norm(maps)
        self.activate = style.activate

    def forward(self, maps: Tensor) -> Tensor:
        return self.activate(self.norm(self.convolution(maps)))


def _deformable(inputs: int, outputs: int, kernel: Vector, stride: Vector, blocks: int, style: Style) -> nn.Module:
    """The first block is plain and carries the stride, as in ``dunet``."""
    first = Plain(inputs, outputs, kernel, stride, style)
    return nn.Sequential(first, *(Deformable(outputs, kernel, style) for _ in range(blocks - 1)))


def _smaller(stride: Vector) -> list[nn.Module]:
    """What averages over the stride; nothing where there is none."""
    return [AveragePool(stride)] if max(stride) > 1 else []


BLOCKS: dict[str, Stage] = {
    "plain": _chained(Plain),
    "residual": _chained(Residual),
    "dense": Dense,
    "inception": _chained(Inception),
    "separable": _chained(Separable),
    "recurrent_residual": _chained(RecurrentResidual),
    "deformable": _deformable,
}
