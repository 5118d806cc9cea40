"""One target, every scale: the loss of each decoder stage, weighing less from scale to scale.

A loss is asked twice: what it measures in each patch by itself, and how it judges the measures of a whole batch.
Between the two, the patches of several processes come together, or those that were computed one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from ..core.samples import Samples

Measures = list[list[Tensor]]
"""Per scale, the finest first, what the loss measured: tensors (B, ...). Empty for a scale that has no loss."""


class Loss(Protocol):
    """Of one scale. ``judge(measure(logits, target))`` is the loss of a batch."""

    def measure(self, logits: Tensor, target: Tensor, spacing: Sequence[float], progress: float) -> list[Tensor]:
        """Tensors (B, ...) from logits (B, heads, *patch) and label indices (B, *patch), each patch by itself.

        ``spacing`` in mm along the axes of the patch; ``progress`` of the training from 0 to 1.
        """
        ...

    def judge(self, measures: Sequence[Tensor]) -> Tensor:
        """Scalar, from the measures of all patches of a batch."""
        ...


@dataclass(frozen=True)
class Whole:
    """A loss that only judges logits: those of the whole batch have to come together."""

    loss: Callable[[Tensor, Tensor], Tensor]

    def measure(self, logits: Tensor, target: Tensor, spacing: Sequence[float], progress: float) -> list[Tensor]:
        return [logits, target]

    def judge(self, measures: Sequence[Tensor]) -> Tensor:
        return self.loss(*measures)


@dataclass(frozen=True)
class DeepSupervision:
    """``loss`` at all scales, each against the target at its own size."""

    loss: Loss
    ratio: float = 0.5
    """Weight of a scale beside that of the scale before."""

    @classmethod
    def of(cls, loss: Any, ratio: float = 0.5) -> DeepSupervision:
        """``loss`` is a part of autoseg, or any function of logits and target."""
        return cls(loss if hasattr(loss, "measure") else Whole(loss), ratio)

    def measure(self, logits: Sequence[Tensor], samples: Samples) -> Measures:
        """Of logits (B, heads, *size), finest first, against the targets of ``samples``."""
        found: Measures = []
        for weight, scale in zip(scale_weights(len(logits), self.ratio), logits):
            if not weight:
                found.append([])
                continue
            target = resized(samples.targets, scale.shape[2:])
            shrunk = zip(samples.spacing, samples.targets.shape[1:], scale.shape[2:])
            spacing = [mm * whole / edge for mm, whole, edge in shrunk]
            found.append(self.loss.measure(scale, target, spacing, samples.progress))
        return found

    def judge(self, measures: Measures) -> Tensor:
        """The weighted sum over the scales."""
        weighted = zip(scale_weights(len(measures), self.ratio), measures)
        return torch.stack([weight * self.loss.judge(measured) for weight, measured in weighted if weight]).sum()


def scale_weights(scales: int, ratio: float = 0.5) -> tuple[float, ...]:
    """1, ``ratio``, ``ratio ** 2``, ... without the coarsest scale, summing to 1 (nnU-Net v2 2.8.1). One weighs 1."""
    weights = [ratio**scale for scale in range(scales)]
    if scales > 1:
        weights[-1] = 0.0
    return tuple(weight / sum(weights) for weight in weights)


def resized(target: Tensor, shape: Sequence[int]) -> Tensor:
    """The index map ``target`` (B, *patch) at ``shape``: at every new voxel's centre, the old voxel it lies in."""
    for axis, (old, new) in enumerate(zip(target.shape[1:], shape), start=1):
        if old != new:
            positions = (torch.arange(new, device=target.device) + 0.5) * (old / new)
            target = target.index_select(axis, positions.long())
    return target
