"""A network of which is known where it finds its evidence: not where it decides."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

EDGE, SHIFT, BLOCK = 32, 12, 4  # voxels; evidence for a label lies SHIFT voxels from where the label is decided
CONVOLUTION = {2: nn.Conv2d, 3: nn.Conv3d}


class Planted(nn.Module):
    """Decides for head 1 by what lies SHIFT voxels further along the last axis, for head 2 by what is dark at the place
    itself. It looks at means of blocks of 4 voxels."""

    def __init__(self, dimensions: int, activation: Any = functional.relu) -> None:
        super().__init__()
        kernel = (1,) * (dimensions - 1) + (SHIFT + 1,)
        self.activation, self.dimensions = activation, dimensions
        self.down = CONVOLUTION[dimensions](1, 2, BLOCK, stride=BLOCK, bias=False)
        self.far = CONVOLUTION[dimensions](2, 3, kernel, padding=tuple(edge // 2 for edge in kernel), bias=False)
        with torch.no_grad():
            self.down.weight[0], self.down.weight[1] = BLOCK**-dimensions, -(BLOCK**-dimensions)
            self.far.weight.zero_()
            middle = (0,) * (dimensions - 1)
            self.far.weight[(1, 0, *middle, -1)] = 1.0
            self.far.weight[(2, 1, *middle, SHIFT // 2)] = 1.0
        for parameter in self.parameters():
            parameter.requires_grad_(False)

    def forward(self, patches: Tensor) -> list[Tensor]:
        maps = functional.interpolate(self.activation(self.down(patches)), scale_factor=2)
        return [functional.interpolate(self.far(maps), scale_factor=2)]


def around(mask: np.ndarray, reach: int = BLOCK) -> np.ndarray:
    """With the voxels that are no further away than a coarse map or block blurs."""
    for axis in range(mask.ndim):
        mask = np.logical_or.reduce([np.roll(mask, step, axis) for step in range(-reach, reach + 1)])
    return mask
