"""The torch side of dice_ce."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from ...core.labels import ExclusiveLabels, Labels

if TYPE_CHECKING:
    from .dice_ce import Spec


class DiceCE:
    """See ``dice_ce.Spec.build``."""

    def __init__(self, spec: Spec, labels: Labels) -> None:
        self.spec = spec
        self.exclusive = isinstance(labels, ExclusiveLabels)
        self.ignore = labels.ignore_index
        self.table = torch.from_numpy(labels.index_table)

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        logits, target = logits.float(), target.long()  # sums over millions of voxels need float32
        counted = None if self.ignore is None else (target != self.ignore).unsqueeze(1)
        on = self._on(target)
        if self.exclusive:
            log_probability = functional.log_softmax(logits, 1)
            probability = log_probability.exp()
            entropy = -torch.where(on, log_probability, 0.0).sum(1, keepdim=True)  # ignored voxels are on nowhere
        else:
            probability = logits.sigmoid()
            entropy = functional.binary_cross_entropy_with_logits(logits, on.float(), reduction="none")
        dice = self._dice(probability, on, counted)
        return self.spec.dice_weight * (1.0 - dice) + self.spec.ce_weight * _mean(entropy, counted)

    def _on(self, target: Tensor) -> Tensor:
        """(B, heads, *patch) bool: which head should be on. One byte per entry, never a float one-hot."""
        if self.exclusive:
            heads = torch.arange(self.table.shape[0], device=target.device)
            return target.unsqueeze(1) == heads.view(1, -1, *(1,) * (target.dim() - 1))
        table = self.table.to(target.device)
        if self.ignore is not None:
            table = functional.pad(table, (0, 1))  # the ignored index switches nothing on
        return table[:, target].movedim(0, 1)

    def _dice(self, probability: Tensor, on: Tensor, counted: Tensor | None) -> Tensor:
        """Mean soft Dice over heads (without background), and over patches unless they are taken as one."""
        if self.exclusive:
            probability, on = probability[:, 1:], on[:, 1:]
        axes = (0, *range(2, on.dim())) if self.spec.batch_dice else tuple(range(2, on.dim()))
        predicted = (probability if counted is None else torch.where(counted, probability, 0.0)).sum(axes)
        common = torch.where(on, probability, 0.0).sum(axes)
        smooth = self.spec.smooth
        # The floor only acts with smooth = 0 and both empty.
        dice = (2.0 * common + smooth) / (predicted + on.sum(axes) + smooth).clamp_min(1e-8)
        return dice.mean()


def _mean(values: Tensor, counted: Tensor | None) -> Tensor:
    """Over all voxels that count and all heads; zero when none does."""
    if counted is None:
        return values.mean()
    return torch.where(counted, values, 0.0).sum() / (counted.sum() * values.shape[1]).clamp_min(1)
