"""The torch side of conv_lstm_unet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ._slices import slices_of, volumes_of
from ._unet import CONVOLUTION, UNet, stage, start
from .conv_lstm_unet import KERNEL

if TYPE_CHECKING:
    from .conv_lstm_unet import Spec

FORGET = 1.0  # bias of the forget gate at first: what is known is kept (Jozefowicz et al. 2015)


class ConvLSTMUNet(UNet):
    """The U-Net of the slices; ``forwards`` and ``backwards`` go over its finest maps."""

    def __init__(self, spec: Spec, channels: int, heads: int) -> None:
        flat = spec.of_slices
        down = zip((channels, *flat.features), flat.features, flat.kernels, flat.strides, flat.blocks_encoder)
        super().__init__(flat, (stage(*choices) for choices in down), heads)
        self.heads = nn.ModuleList(CONVOLUTION[3](count, heads, 1) for count in flat.features[:-1])
        self.heads.apply(start)
        self.forwards, self.backwards = (ConvLSTM(spec.features[0], spec.features[0] // 2) for _ in range(2))

    def _up(self, images: Tensor) -> list[Tensor]:
        depth, decoded = images.shape[2], super()._up(slices_of(images))
        decoded[-1] = self._in_context(decoded[-1], depth)
        return [volumes_of(maps, depth) for maps in decoded]

    def _in_context(self, maps: Tensor, depth: int) -> Tensor:
        """Finest maps of slices (B * z, features, y, x), with what lies before and after each added."""
        found = self.forwards(maps, depth), self.backwards(maps, depth, reverse=True)
        return maps + torch.cat(found, 1)


class ConvLSTM(nn.Module):
    """Long short-term memory whose products are convolutions (Shi et al. 2015), without its peepholes."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.seen = nn.Conv2d(inputs, 4 * hidden, KERNEL, padding=KERNEL // 2)
        self.kept = nn.Conv2d(hidden, 4 * hidden, KERNEL, padding=KERNEL // 2, bias=False)
        self.apply(start)
        if self.seen.bias is not None and not self.seen.bias.is_meta:
            nn.init.constant_(self.seen.bias[hidden : 2 * hidden], FORGET)

    def forward(self, maps: Tensor, depth: int, *, reverse: bool = False) -> Tensor:
        """(B * z, inputs, y, x) to (B * z, hidden, y, x), slice after slice of each volume, or the other way."""
        gates = self.seen(maps).unflatten(0, (-1, depth)).unbind(1)
        outputs: list[Tensor] = []
        state: tuple[Tensor, Tensor] | None = None
        for slice_gates in reversed(gates) if reverse else gates:
            state = self._step(slice_gates, state)
            outputs.append(state[0])
        return torch.stack(outputs[::-1] if reverse else outputs, 1).flatten(0, 1)

    def _step(self, gates: Tensor, state: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
        """Output and cell after a slice; the cell is in float32, since what it holds is added up over all slices."""
        if state is not None:
            gates = gates + self.kept(state[0])
        enter, forget, leave, new = gates.chunk(4, 1)
        cell = enter.sigmoid() * new.tanh().float()
        if state is not None:
            cell = cell + forget.sigmoid() * state[1]
        return leave.sigmoid() * cell.tanh().to(gates.dtype), cell
