"""One target, every scale: the loss of each decoder stage, weighing less from scale to scale."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]


def scale_weights(scales: int, ratio: float = 0.5) -> tuple[float, ...]:
    """1, ``ratio``, ``ratio ** 2``, ... without the coarsest scale, summing to 1 (nnU-Net v2 2.8.1). One weighs 1."""
    weights = [ratio**scale for scale in range(scales)]
    if scales > 1:
        weights[-1] = 0.0
    return tuple(weight / sum(weights) for weight in weights)


def deep_supervision(loss: Loss, logits: Sequence[Tensor], target: Tensor, ratio: float = 0.5) -> Tensor:
    """Weighted sum of ``loss`` over ``logits``, finest first, each against ``target`` (B, *patch) at its own size."""
    weighted = zip(scale_weights(len(logits), ratio), logits)
    terms = [weight * loss(scale, resized(target, scale.shape[2:])) for weight, scale in weighted if weight]
    return torch.stack(terms).sum()


def resized(target: Tensor, shape: Sequence[int]) -> Tensor:
    """The index map ``target`` (B, *patch) at ``shape``: at every new voxel's centre, the old voxel it lies in."""
    for axis, (old, new) in enumerate(zip(target.shape[1:], shape), start=1):
        if old != new:
            positions = (torch.arange(new, device=target.device) + 0.5) * (old / new)
            target = target.index_select(axis, positions.long())
    return target
