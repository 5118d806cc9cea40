"""Normalisations and activations of modular_unet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ._normalisation import EPSILON, InstanceNorm
from ._unet import activate

MOST_GROUPS = 8  # as in Myronenko 2018
MOMENTUM = 0.1  # share of a batch in the moving averages: torch's


class GroupNorm(nn.GroupNorm):
    """Group normalisation (Wu and He 2018): at most eight groups, the most that divide the channels evenly."""

    def __init__(self, channels: int) -> None:
        groups = next(count for count in range(min(MOST_GROUPS, channels), 0, -1) if channels % count == 0)
        super().__init__(groups, channels, EPSILON)

    def forward(self, input: Tensor) -> Tensor:
        # With channels last torch sums the voxels of a whole image in float32, which is not exact (_normalisation).
        return super().forward(input.contiguous())


class BatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation (Ioffe and Szegedy 2015), in 2-D and 3-D; predicts with moving averages of mean and
    variance."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, EPSILON, MOMENTUM)

    def _check_input_dim(self, input: Tensor) -> None:
        """Any."""


NORMS: dict[str, Callable[[int], nn.Module]] = {"instance": InstanceNorm, "group": GroupNorm, "batch": BatchNorm}


def relu(maps: Tensor) -> Tensor:
    """In place."""
    return functional.relu(maps, inplace=True)


def elu(maps: Tensor) -> Tensor:
    """In place (Clevert et al. 2016)."""
    return functional.elu(maps, inplace=True)


def silu(maps: Tensor) -> Tensor:
    """Swish with factor 1 (Ramachandran et al. 2017); in place where nobody asks for a gradient."""
    return functional.silu(maps, inplace=not torch.is_grad_enabled())


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "leaky_relu": activate,
    "relu": relu,
    "elu": elu,
    "gelu": functional.gelu,
    "silu": silu,
}


@dataclass(frozen=True)
class Style:
    """What blocks of every kind are made with."""

    norm: Callable[[int], nn.Module]
    activate: Callable[[Tensor], Tensor]
