"""Which voxels of an image made a model decide for a label: maps by the parts of ``parts.explanations``.

A network is explained on one patch, around the largest connected part of the label as the model predicts it; beyond
that patch nothing is looked at, and the map is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from ..core.components import components, sizes_of
from ..core.geometry import Box
from ..core.scene import Scene
from ..preprocessing.prepare import PreparedCase
from ..settings import resolve
from .model import Model


@dataclass(frozen=True)
class Place:
    """What of an image a network sees for an explanation."""

    patch: np.ndarray
    """(channels, *patch), float32, all that the network sees."""
    region: np.ndarray
    """(*patch), bool."""
    box: Box
    """Where the patch lies on the network's grid; it may reach beyond."""
    spacing: tuple[float, ...]
    """mm along the patch's axes."""

    def scene(self, network: nn.Module, head: int, device: torch.device, seed: int) -> Scene:
        patch, region = torch.from_numpy(self.patch)[None].to(device), torch.from_numpy(self.region).to(device)
        return Scene(network, patch, region, head, self.spacing, seed)

    def on_grid(self, found: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """A map of the patch (*patch) on the whole grid of ``shape``, 0 elsewhere."""
        whole = np.zeros(shape, np.float32)
        there = tuple(slice(max(0, a), min(b, edge)) for a, b, edge in zip(self.box.start, self.box.stop, shape))
        here = tuple(slice(part.start - a, part.stop - a) for part, a in zip(there, self.box.start))
        whole[there] = found.reshape([b - a for a, b in zip(self.box.start, self.box.stop)])[here]
        return whole


def place_of(model: Model, prepared: PreparedCase, inputs: np.ndarray, mask: np.ndarray) -> Place:
    """The patch around the largest part of ``mask`` (z, y, x), which is not empty."""
    configuration, spacing = model.configuration, prepared.record.split()[1].new_spacing
    flat = configuration.dimensions == 2
    if flat:  # a slice is explained by itself: the one with most of the label
        inside = np.zeros_like(mask)
        best = int(mask.sum((1, 2)).argmax())
        inside[best] = mask[best]
        mask = inside
    numbered = components(mask)
    largest = numbered == 1 + int(sizes_of(numbered)[1:].argmax())
    places = np.argwhere(largest)
    centre = places[((places - places.mean(0)) ** 2).sum(1).argmin()]
    patch = (1, *configuration.patch_size) if flat else configuration.patch_size
    box = _around(centre.tolist(), patch, mask.shape)
    reach = configuration.slices // 2 if flat else 0
    region = _cut(largest[None], box)[0]
    if not flat:
        return Place(_cut(inputs, box), region, box, spacing)
    depths = np.clip(np.arange(-reach, reach + 1) + box.start[0], 0, len(mask) - 1)  # the border slices come again
    seen = _cut(inputs[:, depths], replace(box, start=(0, *box.start[1:]), stop=(len(depths), *box.stop[1:])))
    return Place(seen.reshape(-1, *patch[1:]), region[0], box, spacing[1:])


def explained(model: Model, part: Any, place: Place, head: int, advance: Callable[[int], None]) -> np.ndarray:
    """(*patch) float32: the mean over the networks of all folds. Raises UsageError as ``part.explain`` does."""
    device = resolve(model.settings, predicting=True).device
    maps = [
        part.explain(place.scene(network, head, device, model.settings.seed), advance).numpy()
        for network in model.networks
    ]
    found: np.ndarray = np.stack(maps).mean(0, dtype=np.float32)
    return found


def passes(model: Model, part: Any, place: Place, head: int) -> int:
    """How many patches the networks see for it."""
    count: int = part.passes(place.scene(model.networks[0], head, torch.device("cpu"), 0))
    return count * len(model.networks)


def _around(centre: Sequence[int], patch: Sequence[int], shape: Sequence[int]) -> Box:
    """Of the patch's size; within the image where that is large enough, else around its middle."""
    start = [
        min(max(0, at - edge // 2), whole - edge) if whole >= edge else (whole - edge) // 2
        for at, edge, whole in zip(centre, patch, shape)
    ]
    z, y, x = start
    return Box((z, y, x), (z + patch[0], y + patch[1], x + patch[2]))


def _cut(array: np.ndarray, box: Box) -> np.ndarray:
    """(channels, *box) of (channels, z, y, x); beyond it 0, as a sliding window pads."""
    pads = [(max(0, -a), max(0, b - edge)) for a, b, edge in zip(box.start, box.stop, array.shape[1:])]
    inside = tuple(slice(max(0, a), b) for a, b in zip(box.start, box.stop))
    return np.pad(array[(slice(None),) + inside], [(0, 0), *pads])
