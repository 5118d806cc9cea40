"""A cheap look at how training goes: Dice over a few validation patches, as if they were one image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..core.labels import Labels
from ..parts.inputs._encoding import joined
from ..settings import Resolved
from .arithmetic import autocast
from .batches import PatchSampler


def online_dice(
    network: nn.Module, sampler: PatchSampler, batches: int, labels: Labels, resolved: Resolved, parts: int = 1
) -> dict[str, float]:
    """Foreground name to Dice over the first ``batches`` batches; labels found neither here nor there are left out.

    A batch is computed in so many ``parts``. The patches are the same every time. This is no validation: patches hold
    more foreground than images do.
    """
    counts = torch.zeros(3, len(labels.foreground), dtype=torch.int64)
    network.eval()
    with torch.inference_mode():
        for number in range(batches):
            batch = sampler.batch(number)
            extras = [torch.stack(list(arrays)) for arrays in batch.extras]
            seen = joined(torch.stack(list(batch.images)).float(), extras)
            all_targets = torch.stack(list(batch.targets))
            for images, targets in zip(seen.tensor_split(parts), all_targets.tensor_split(parts)):
                with autocast(resolved):
                    logits = network(images.to(resolved.device))[0]
                counts += overlap_counts(logits, targets.to(resolved.device), labels).cpu()
    network.train()
    common, predicted, present = counts.tolist()
    sums = {name: predicted[i] + present[i] for i, name in enumerate(labels.foreground)}
    return {name: 2 * common[i] / sums[name] for i, name in enumerate(sums) if sums[name]}


def overlap_counts(logits: Tensor, targets: Tensor, labels: Labels) -> Tensor:
    """(3, foreground): voxels in both, in the prediction, in the target; ignored voxels left out."""
    counted = targets != -1 if labels.ignore_index is None else targets != labels.ignore_index
    known = torch.where(counted, targets, 0).long()
    winner = logits.argmax(1)
    table = torch.from_numpy(labels.index_table).to(targets.device)
    rows = []
    for head in range(1 if labels.exclusive else 0, labels.heads):  # head 0 of exclusive labels is background
        predicted = ((winner == head) if labels.exclusive else (logits[:, head] > 0)) & counted
        present = table[head][known] & counted
        rows.append(torch.stack([(predicted & present).sum(), predicted.sum(), present.sum()]))
    return torch.stack(rows, dim=1)
