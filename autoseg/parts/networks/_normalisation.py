"""Instance normalisation that stays exact where torch's fastest one does not.

On a processor ``group_norm`` is by far the quickest way, but with channels last it sums the voxels of a whole image in
float32, and the variance is what is left of a mean square: of 64 x 96 x 96 voxels results are off by 1e-3, and where
values vary by a hundredth of their mean, as in a constant background, by a half. Prediction in float32 therefore takes
the moments of a few thousand voxels at a time, around a value near the mean, and joins them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

EPSILON = 1e-5  # as in Isensee et al. 2021
PIECE = 2048  # voxels at least: fewer at a time are slow
SAMPLED = 8  # every 8th voxel along two axes tells what lies near the mean


class InstanceNorm(nn.Module):
    """Instance normalisation with a learned scale and shift per channel; may overwrite what it is given to predict."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, maps: Tensor) -> Tensor:
        if maps.device.type != "cpu":
            return functional.instance_norm(maps, weight=self.weight, bias=self.bias, eps=EPSILON)
        if maps.dtype == torch.float32 and not torch.is_grad_enabled() and not maps.is_contiguous():
            return exactly(maps, self.weight, self.bias)
        # One group per channel is the same formula; torch computes it a third faster than instance_norm there.
        return functional.group_norm(maps, maps.shape[1], self.weight, self.bias, EPSILON)


class ModalityNorm(nn.Module):
    """Instance normalisation with a learned scale and shift per channel for each of several modalities.

    Where all have the same, or a patch has one modality, it computes what ``InstanceNorm`` computes, bit by bit.
    """

    def __init__(self, channels: int, modalities: int) -> None:
        super().__init__()
        self.of = nn.ModuleList(InstanceNorm(channels) for _ in range(modalities))
        """What holds the scale and shift of each modality. Matrices of all would look like a layer's kernel."""

    def forward(self, maps: Tensor, shares: Tensor, then: Callable[[Tensor], Tensor]) -> Tensor:
        """``shares`` (B, modalities) sum to 1: of each patch, how much each scale and shift counts.

        ``then`` follows, which may work in place: on a view of the result, autograd would make a copy for it.
        """
        weight, bias = (self._mixed(name, shares) for name in ("weight", "bias"))
        if maps.device.type == "cpu" and not torch.is_grad_enabled() and not maps.is_contiguous():
            if maps.dtype == torch.float32:
                return then(exactly(maps, weight, bias))
            own = zip(maps.split(1), weight, bias)
            return then(torch.cat([torch.group_norm(one, len(scale), scale, at, EPSILON) for one, scale, at in own]))
        groups = weight.numel()  # every channel of every patch by itself is what torch, too, makes of a batch
        one = maps.reshape(1, groups, *maps.shape[2:])
        if maps.device.type != "cpu":
            normal = functional.instance_norm(one, weight=weight.flatten(), bias=bias.flatten(), eps=EPSILON)
        else:
            normal = torch.group_norm(one, groups, weight.flatten(), bias.flatten(), EPSILON)
        return then(normal).view(maps.shape)

    def _mixed(self, name: str, shares: Tensor) -> Tensor:
        """(B, channels). A modality that counts 0 gets a gradient of exactly 0; products are rounded by nothing."""
        every = torch.stack([getattr(norm, name) for norm in self.of])
        return (shares[..., None] * every).sum(1)


def exactly(maps: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Normalises ``maps`` (B, channels, [z,] y, x), which it overwrites if channels lie last in memory.

    ``weight`` and ``bias`` are of every channel, or (B, channels).
    """
    batch, channels, *size = maps.shape
    near_mean = maps[:, :, ::SAMPLED, ::SAMPLED].flatten(2).mean(2)
    voxels = maps.movedim(1, -1).reshape(batch, -1, channels).sub_(near_mean[:, None])
    pieces = _pieces(voxels.shape[1])
    length = voxels.shape[1] // pieces
    split = voxels.view(batch * pieces, length, 1, channels).movedim(-1, 1)
    _, means, scales = torch.native_group_norm(split, None, None, len(split), channels, length, channels, EPSILON)
    means, variances = means.view(batch, pieces, channels), scales.view(batch, pieces, channels) ** -2
    mean = means.mean(1)
    factor = weight * ((variances + means**2).mean(1) - mean**2).rsqrt()
    torch.addcmul((bias - mean * factor)[:, None], voxels, factor[:, None], out=voxels)
    return voxels.view(batch, *size, channels).movedim(-1, 1)


def _pieces(voxels: int) -> int:
    """The most equal pieces of an image, each of at least ``PIECE`` voxels."""
    return next((count for count in range(voxels // PIECE, 1, -1) if voxels % count == 0), 1)
