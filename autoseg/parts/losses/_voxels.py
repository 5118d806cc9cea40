"""What every loss looks at: the network's opinion of each voxel beside the truth, and which voxels count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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

    def look(
        self, logits: Tensor, target: Tensor, spacing: Sequence[float] | None = None, progress: float = 1.0
    ) -> Voxels:
        """``logits`` (B, heads, *patch) beside ``target`` (B, *patch) of label indices, any integer type."""
        heads = replace(self, table=self.table.to(logits.device))
        return Voxels(heads, logits, target.unsqueeze(1), tuple(spacing or (1.0,) * (target.dim() - 1)), progress)


@dataclass(frozen=True)
class Voxels:
    """A batch of patches, once per head."""

    heads: Heads
    given: Tensor
    """(B, heads, *patch): logits in the precision of the network."""
    target: Tensor
    """(B, 1, *patch) of label indices."""
    spacing: tuple[float, ...]
    """mm along the axes of the patch."""
    progress: float
    """Of the training, from 0 to 1."""

    def part(self, given: Tensor, target: Tensor) -> Voxels:
        """Some of the voxels."""
        return replace(self, given=given, target=target)

    @property
    def exclusive(self) -> bool:
        return self.heads.exclusive

    @cached_property
    def logits(self) -> Tensor:
        """At least float32: sums over millions of voxels need it."""
        return self.given.to(torch.promote_types(self.given.dtype, torch.float32))

    @cached_property
    def on(self) -> Tensor:
        """(B, heads, *patch) bool: which head should be on; none where a voxel does not count.

        One byte per entry, never a float one-hot.
        """
        if self.exclusive:
            heads = torch.arange(self.given.shape[1], device=self.target.device)
            return self.target == heads.view(1, -1, *(1,) * (self.target.dim() - 2))
        return self.heads.table[:, self.target[:, 0].long()].movedim(0, 1)

    @cached_property
    def counted(self) -> Tensor | None:
        """(B, 1, *patch) bool: False where the label is ignored; None: all count."""
        return None if self.heads.ignore is None else self.target != self.heads.ignore

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
            wanted = self.on.to(self.logits.dtype)
            return functional.binary_cross_entropy_with_logits(self.logits, wanted, reduction="none")
        ignored = -1 if self.heads.ignore is None else self.heads.ignore
        truth = self.target[:, 0].long()
        found = functional.nll_loss(self.log_probability, truth, ignore_index=ignored, reduction="none")
        return found.unsqueeze(1)

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
        return torch.stack((common, predicted, on.sum(axes).to(common.dtype)), 1)

    def sums(self, values: Tensor) -> Tensor:
        """(B, 2): of every patch the sum of ``values`` (B, any, *patch) where voxels count, and how many these are."""
        if self.counted is None:
            total = values.flatten(1).sum(1)
            return torch.stack((total, torch.full_like(total, values[0].numel())), 1)
        total = torch.where(self.counted, values, 0.0).flatten(1).sum(1)
        return torch.stack((total, self.counted.flatten(1).sum(1).to(total.dtype) * values.shape[1]), 1)

    def sum_by_head(self, values: Tensor) -> Tensor:
        """(B, heads): of every patch the sums of ``values`` (B, heads, *patch) where voxels count."""
        counted = (
            values if self.counted is None else torch.where(self.counted, values, torch.zeros_like(values[:1, :1]))
        )
        return counted.sum(tuple(range(2, values.dim())))

    def by_head(self, values: Tensor) -> Tensor:
        """(B, 4, heads): of every patch the sums of ``values`` where each head should be on and where not, and the
        voxels there; ignored ones left out. ``values`` is (B, 1, *patch) for exclusive labels, else one per head."""
        axes = tuple(range(2, self.on.dim()))
        counted = torch.ones_like(self.on[:, :1]) if self.counted is None else self.counted
        inside = torch.where(self.on, values, 0.0).sum(axes)
        whole = torch.where(counted, values, 0.0).sum(axes).expand_as(inside)
        present = self.on.sum(axes).to(inside.dtype)
        return torch.stack((inside, whole - inside, present, counted.sum(axes).to(inside.dtype) - present), 1)
