"""The torch side of r2unet: convolutions that see their own result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from ._unet import CONVOLUTION, Block, InstanceNorm, UNet, activate

if TYPE_CHECKING:
    from .r2unet import Spec


class RecurrentConvolution(nn.Module):
    """One kernel for what comes in, and one for its own result; these and the norm are the same at every recurrence."""

    def __init__(self, count: int, kernel: tuple[int, ...], recurrences: int) -> None:
        super().__init__()
        convolution, padding = CONVOLUTION[len(kernel)], tuple(size // 2 for size in kernel)
        self.convolution = convolution(count, count, kernel, padding=padding)
        self.recurrent = convolution(count, count, kernel, padding=padding, bias=False)
        self.norm = InstanceNorm(count)
        self.recurrences = recurrences

    def forward(self, maps: Tensor) -> Tensor:
        driven = self.convolution(maps)
        state = activate(self.norm(driven.clone()))  # a norm may overwrite what it is given to predict
        for _ in range(self.recurrences):
            state = activate(self.norm(driven + self.recurrent(state)))
        return state


class RecurrentStage(nn.Module):
    """Brings maps to their number and size, and adds to them what recurrent convolutions find."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: tuple[int, ...],
        stride: tuple[int, ...],
        blocks: int,
        recurrences: int,
    ) -> None:
        super().__init__()
        # Single voxels, as in the paper; with a stride, the kernel sees those that are passed over.
        self.projection = Block(inputs, outputs, kernel if max(stride) > 1 else (1,) * len(kernel), stride)
        self.layers = nn.Sequential(*(RecurrentConvolution(outputs, kernel, recurrences) for _ in range(blocks)))

    def forward(self, maps: Tensor) -> Tensor:
        maps = self.projection(maps)
        found: Tensor = maps + self.layers(maps)
        return found


def r2unet(spec: Spec, channels: int, heads: int) -> UNet:
    """See ``r2unet.Spec.build``."""

    def stage(
        inputs: int, outputs: int, kernel: tuple[int, ...], stride: tuple[int, ...], blocks: int
    ) -> RecurrentStage:
        return RecurrentStage(inputs, outputs, kernel, stride, blocks, spec.recurrences)

    down = zip((channels, *spec.features), spec.features, spec.kernels, spec.strides, spec.blocks_encoder)
    return UNet(spec, (stage(*choices) for choices in down), heads, stage)
