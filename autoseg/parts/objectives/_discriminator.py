"""A small network that looks at patches of an image with a segmentation on it, and says for each whether it is true."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

SLOPE = 0.2  # of the activation below 0, as Radford et al. 2016


class Discriminator(nn.Module):
    """(B, image channels + heads, *patch) to a list of one map (B, 1, *smaller): a logit of "true" for each place.

    Convolutions of 3 voxels along each axis, all but the last with a stride of 2. It has no layer that knows other
    patches, and none with a state beside its weights.
    """

    def __init__(self, channels: int, features: Sequence[int], dimensions: int) -> None:
        super().__init__()
        convolution = nn.Conv2d if dimensions == 2 else nn.Conv3d
        layers: list[nn.Module] = []
        for before, after in zip((channels, *features), features):
            layers += [convolution(before, after, 3, 2, 1), nn.LeakyReLU(SLOPE, inplace=True)]
        self.layers = nn.Sequential(*layers, convolution(features[-1], 1, 3, 1, 1))

    def forward(self, seen: Tensor) -> list[Tensor]:
        return [self.layers(seen)]


def adam(weights: Sequence[nn.Parameter], learning_rate: float) -> torch.optim.Adam:
    """The optimizer that adversarial networks are trained with (Radford et al. 2016), its state being there at once: so
    it is counted with all memory."""
    optimizer = torch.optim.Adam(weights, learning_rate, betas=(0.5, 0.999))
    for weight in weights:
        average, square = (torch.zeros_like(weight, requires_grad=False) for _ in range(2))
        optimizer.state[weight] = {"step": torch.tensor(0.0), "exp_avg": average, "exp_avg_sq": square}
    return optimizer
