"""What every loss looks at: the network's opinion of each voxel beside the truth, and which voxels count."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from ...core.labels import Labels


@dataclass(frozen=True)
class Heads:
    """Labels as the network's heads see them."""

    exclusive: bool
    """Softmax over the heads, head 0 is background; otherwise a sigmoid each."""
    table: Tensor
    """(heads, indices) bool: which head is on for which index; the ignored index switches nothing on."""
    ignore: int | None

    @classmethod
    def of(cls, labels: Labels) -> Heads:
        """For training targets that hold indices of ``labels``."""
        ignored = (0, 0 if labels.ignore_index is None else 1)
        table = functional.pad(torch.from_numpy(labels.index_table), ignored)
        return cls(labels.exclusive, table, labels.ignore_index)

    def look(self, logits: Tensor, target: Tensor) -> Voxels:
        """``logits`` (B, heads, *patch) beside ``target`` (B, *patch) of label indices, any integer type."""
        target = target.long()
        counted = None if self.ignore is None else (target != self.ignore).unsqueeze(1)
        return Voxels(logits.float(), self._on(target), counted, self.exclusive)

    def _on(self, target: Tensor) -> Tensor:
        """One byte per entry, never a float one-hot."""
        if self.exclusive:
            heads = torch.arange(self.table.shape[0], device=target.device)
            return target.unsqueeze(1) == heads.view(1, -1, *(1,) * (target.dim() - 1))
        return self.table.to(target.device)[:, target].movedim(0, 1)


@dataclass(frozen=True)
class Voxels:
    """A batch of patches, once per head."""

    logits: Tensor
    """(B, heads, *patch) float32: sums over millions of voxels need it."""
    on: Tensor
    """(B, heads, *patch) bool: which head should be on; none where a voxel does not count."""
    counted: Tensor | None
    """(B, 1, *patch) bool: False where the label is ignored; None: all count."""
    exclusive: bool

    @cached_property
    def log_probability(self) -> Tensor:
        """Of exclusive labels, (B, heads, *patch)."""
        return functional.log_softmax(self.logits, 1)

    @cached_property
    def probability(self) -> Tensor:
        """That the head is on, (B, heads, *patch)."""
        return self.log_probability.exp() if self.exclusive else self.logits.sigmoid()

    @cached_property
    def entropy(self) -> Tensor:
        """``-ln`` of the probability given to the truth: (B, 1, *patch) for exclusive labels, else one per head."""
        if not self.exclusive:
            return functional.binary_cross_entropy_with_logits(self.logits, self.on.float(), reduction="none")
        return -torch.where(self.on, self.log_probability, 0.0).sum(1, keepdim=True)

    @property
    def foreground(self) -> slice:
        """The heads that stand for something: not that of background."""
        return slice(1 if self.exclusive else 0, None)

    def overlap(self, heads: slice) -> Tensor:
        """(B, 3, heads): of every patch the soft volumes of what is common, predicted and present."""
        probability, on = self.probability[:, heads], self.on[:, heads]
        axes = tuple(range(2, on.dim()))
        common = torch.where(on, probability, 0.0).sum(axes)
        predicted = (probability if self.counted is None else torch.where(self.counted, probability, 0.0)).sum(axes)
        return torch.stack((common, predicted, on.sum(axes).float()), 1)

    def sums(self, values: Tensor) -> Tensor:
        """(B, 2): of every patch the sum of ``values`` (B, any, *patch) where voxels count, and how many these are."""
        if self.counted is None:
            total = values.flatten(1).sum(1)
            return torch.stack((total, torch.full_like(total, values[0].numel())), 1)
        total = torch.where(self.counted, values, 0.0).flatten(1).sum(1)
        return torch.stack((total, self.counted.flatten(1).sum(1) * float(values.shape[1])), 1)

    def by_head(self, values: Tensor) -> Tensor:
        """(B, 4, heads): of every patch the sums of ``values`` where each head should be on and where not, and the
        voxels there; ignored ones left out. ``values`` is (B, 1, *patch) for exclusive labels, else one per head."""
        axes = tuple(range(2, self.on.dim()))
        counted = torch.ones_like(self.on[:, :1]) if self.counted is None else self.counted
        inside = torch.where(self.on, values, 0.0).sum(axes)
        whole = torch.where(counted, values, 0.0).sum(axes).expand_as(inside)
        present = self.on.sum(axes).float()
        return torch.stack((inside, whole - inside, present, counted.sum(axes).float() - present), 1)
