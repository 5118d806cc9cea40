"""A look at whole validation cases while training goes on: what early stopping goes by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan

import numpy as np
import torch
from torch import nn

from ..core.geometry import Box
from ..core.labels import Labels
from ..core.seeds import generator
from ..inference.readout import Slab
from ..inference.resampled import SLAB_BYTES, ranges
from ..inference.sliding_window import SlidingWindow
from ..settings import RunSettings, resolve
from ..task import Task
from ..training.cases import ReadableCase
from ..training.early_stopping import ValidationMonitor
from ..training.online import overlap_counts

CASES = 3  # the same ones every time


def validation_monitor(
    cases: Mapping[str, ReadableCase],
    keys: Sequence[str],
    task: Task,
    settings: RunSettings,
) -> ValidationMonitor:
    """Mean Dice over labels of a few of the cases ``keys``, predicted whole on the network's grid, not mirrored."""
    count = min(CASES, len(keys))
    chosen = sorted(generator(settings.seed, "watched cases").choice(sorted(keys), count, replace=False).tolist())
    run, configuration, labels = resolve(settings), task.configuration, task.labels

    def dice(network: nn.Module, key: str) -> np.ndarray:
        """Per label; NaN for one that is neither there nor predicted."""
        image, maps, *extras = cases[key].read(Box.whole(cases[key].shape))
        targets = torch.from_numpy(maps.astype(np.int32))
        window = SlidingWindow(
            [network],
            np.concatenate((image, *extras), dtype=np.float32),
            configuration.patch_size,
            heads=labels.heads,
            batch_size=configuration.batch_size,
            mirror_axes=(),
            slices=configuration.slices,
            run=run,
        )
        common, predicted, present = overlap(window, targets, labels).double().numpy()
        with np.errstate(invalid="ignore"):
            return 2.0 * common / (predicted + present)

    def monitor(network: nn.Module) -> float:
        network.eval()
        scores = np.stack([dice(network, key) for key in chosen])
        network.train()
        seen = ~np.isnan(scores)
        means = np.where(seen, scores, 0.0).sum(0)[seen.any(0)] / seen.sum(0)[seen.any(0)]
        return float(means.mean()) if means.size else nan

    return monitor


def overlap(window: SlidingWindow, targets: torch.Tensor, labels: Labels, slab_bytes: int = SLAB_BYTES) -> torch.Tensor:
    """(3, foreground): the counts of ``overlap_counts`` over an image, whose logits exist a few slices at a time.

    ``targets`` are its label indices (z, y, x).
    """
    counts = torch.zeros(3, len(labels.foreground), dtype=torch.int64)
    for rows in ranges(window, window.shape, slab_bytes):
        truth = targets[rows].flatten()
        for piece in Slab(window.read(rows.start, rows.stop), window.readout).pieces():  # (voxels, heads)
            known, truth = truth[: len(piece)], truth[len(piece) :]
            counts += overlap_counts(piece.movedim(1, 0)[None], known[None].to(piece.device), labels).cpu()
    return counts
