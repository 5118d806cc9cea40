"""The largest patch and batch whose feature maps fit a budget."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from ..errors import PlanningError
from .sizes import Layout, Sizes

FIRST_PATCH_VOXELS = {2: 2048**2, 3: 256**3}  # nnU-Net v2 2.8.1: where the search starts, before any clipping
SMALLEST_BATCH = 2
LEFT = "what the budget leaves"


@dataclass(frozen=True)
class StepBudget:
    """What one training step may cost."""

    elements: float
    """Feature map elements of one patch when the batch is ``batch``."""
    batch: int
    """Patches per step that ``elements`` was tuned with."""
    batch_of_patch: int = SMALLEST_BATCH
    """Patches per step that must fit before the search for a patch ends."""
    largest_batch: int | None = None
    strict: bool = False
    """Whether the budget is never exceeded, and the patch is the one that sees most of the image (``widest_patch``).
    Otherwise both are nnU-Net's, which cuts by its own rule and rounds the batch."""


def largest_patch(
    spacing: Sequence[float],
    shape: Sequence[float],
    *,
    sizes: Sizes,
    budget: StepBudget,
    heads: int,
    pass_over: bool = False,
) -> Layout:
    """A patch with the proportions of the voxels, within the median image ``shape`` (voxels, halves possible).

    While it costs too much, the axis that covers most of the image gets one step shorter. Raises PlanningError when
    not even the smallest patch fits.

    nnU-Net's rule can end without any halving when the finest axis is 8 to 11 voxels long, and its network then cannot
    be built. Such a search is done again with ``pass_over``.
    """
    topology = uncut_patch(spacing, shape, sizes, pass_over=pass_over)
    while sizes.elements(topology, heads) / budget.batch * budget.batch_of_patch > budget.elements:
        patch, step = list(topology.patch_size), topology.divisor
        axis = max(range(len(patch)), key=lambda axis: (patch[axis] / shape[axis], axis))
        # a patch that is one step shorter may need fewer halvings, hence a finer step: that finer step is taken
        shorter = [edge - step[i] if i == axis else edge for i, edge in enumerate(patch)]
        patch[axis] -= sizes.topology(spacing, shorter, pass_over=pass_over).divisor[axis]
        if patch[axis] < 1:
            raise PlanningError(f"the planner's budget of {budget.elements:.3g} elements is too small for any patch")
        topology = sizes.topology(spacing, patch, pass_over=pass_over)
    if not topology.is_possible and not pass_over:
        return largest_patch(spacing, shape, sizes=sizes, budget=budget, heads=heads, pass_over=True)
    return topology


def uncut_patch(spacing: Sequence[float], shape: Sequence[float], sizes: Sizes, *, pass_over: bool = False) -> Layout:
    """What no budget cuts: a cube in mm, within the median image."""
    proportions = 1 / np.array(spacing)
    scale = (FIRST_PATCH_VOXELS[len(spacing)] / np.prod(proportions)) ** (1 / len(spacing))
    patch = [min(round(float(p * scale)), limit) for p, limit in zip(proportions, shape)]
    return sizes.topology(spacing, patch, pass_over=pass_over)


def widest_patch(
    spacing: Sequence[float], shape: Sequence[float], *, sizes: Sizes, budget: StepBudget, heads: int
) -> Layout:
    """The patch that sees most of the median image ``shape`` (voxels) while ``batch_of_patch`` of it fit the budget.

    nnU-Net's patch is the start, and its neighbours are tried as long as one of them sees more. No patch is longer than
    the image along one axis while it is cut along another, nor much longer along one than along others, as shares of
    the image. Raises PlanningError when not even the smallest patch fits.
    """
    uncut = uncut_patch(spacing, shape, sizes).patch_size
    best = _within_image(largest_patch(spacing, shape, sizes=sizes, budget=budget, heads=heads), spacing, shape, sizes)
    most = budget.elements * budget.batch / budget.batch_of_patch

    def rank(topology: Layout) -> tuple[float, int]:
        return coverage(topology.patch_size, shape), -sizes.elements(topology, heads)

    def allowed(topology: Layout) -> bool:
        within = topology.is_possible and all(edge <= limit for edge, limit in zip(topology.patch_size, uncut))
        good = within and not is_wasteful(topology.patch_size, shape) and _is_even(topology, shape)
        return good and sizes.elements(topology, heads) <= most

    while True:
        nearest = max(filter(allowed, neighbours(best, spacing, sizes)), key=rank, default=best)
        if rank(nearest) <= rank(best):
            return best
        best = nearest


def is_wasteful(patch_size: Sequence[int], shape: Sequence[float]) -> bool:
    """Whether a patch is longer than the image along one axis, and cut along another, where voxels are still unseen."""
    longer = any(edge > limit for edge, limit in zip(patch_size, shape))
    return longer and any(edge < limit for edge, limit in zip(patch_size, shape))


def _is_even(topology: Layout, shape: Sequence[float]) -> bool:
    """Whether of the axes that are cut none sees a larger share of the image than another one would, a step longer."""
    axes = zip(topology.patch_size, topology.divisor, shape)
    cut = [(edge, step, limit) for edge, step, limit in axes if edge < limit]
    most = max((edge / limit for edge, _, limit in cut), default=0.0)
    return all(most <= (edge + step) / limit for edge, step, limit in cut)


def _within_image(topology: Layout, spacing: Sequence[float], shape: Sequence[float], sizes: Sizes) -> Layout:
    """A wasteful patch without what lies beyond the image; one that could not be halved then stays as it is."""
    shorter = topology
    for _ in shape:  # a shorter axis may end the halving of another, whose steps are then finer
        if not is_wasteful(shorter.patch_size, shape):
            break
        patch = [
            edge if edge <= limit else math.floor(limit / step) * step
            for edge, limit, step in zip(shorter.patch_size, shape, shorter.divisor)
        ]
        if min(patch) < 1:
            return topology
        shorter = sizes.topology(spacing, patch)
    return shorter if shorter.is_possible else topology


def neighbours(topology: Layout, spacing: Sequence[float], sizes: Sizes) -> Iterator[Layout]:
    """Of patches that are one step longer or shorter along some axes, those along few axes first."""
    for steps in sorted(product((0, 1, -1), repeat=len(spacing)), key=lambda steps: -steps.count(0)):
        patch = [edge + step * size for edge, step, size in zip(topology.patch_size, steps, topology.divisor)]
        if min(patch) > 0:
            yield sizes.topology(spacing, patch)


@dataclass(frozen=True)
class PatchFit:
    """What fits a budget."""

    topology: Layout
    elements: int
    """Feature map elements of one patch."""
    batch: int
    why_batch: str
    budget: StepBudget
    """With the patches per step that were to fit: fewer than asked where the data allow no more."""


def fit_patch(
    spacing: Sequence[float],
    shape: Sequence[float],
    *,
    sizes: Sizes,
    budget: StepBudget,
    heads: int,
    training_voxels: float,
    largest_share: float,
) -> PatchFit:
    """The largest patch and what the budget then leaves for the batch; no more than a share of all training voxels.

    Raises PlanningError when not even the smallest patch fits.
    """
    most = training_voxels * largest_share
    if budget.strict:  # where the data allow few patches, these may be larger
        uncut = uncut_patch(spacing, shape, sizes)
        fewest = max(SMALLEST_BATCH, round(most / math.prod(uncut.patch_size)))
        budget = replace(budget, batch_of_patch=min(budget.batch_of_patch, fewest))
    find = widest_patch if budget.strict else largest_patch
    topology = find(spacing, shape, sizes=sizes, budget=budget, heads=heads)
    elements = sizes.elements(topology, heads)
    batch, why = batch_size(elements, most / math.prod(topology.patch_size), largest_share, budget)
    return PatchFit(topology, elements, batch, why, budget)


def batch_size(elements: int, most: float, largest_share: float, budget: StepBudget) -> tuple[int, str]:
    """Patches per step, and why. ``most`` is what ``largest_share`` of all training voxels make."""
    left = budget.elements * budget.batch / elements
    limits = {
        math.floor(left) if budget.strict else round(left): LEFT,
        round(most): f"{largest_share:.0%} of all training voxels",
    }
    if budget.largest_batch is not None:
        limits[budget.largest_batch] = "the most this planner takes"
    batch = min(limits)
    if batch < SMALLEST_BATCH:
        return SMALLEST_BATCH, f"batch: {SMALLEST_BATCH}, the smallest allowed"
    return batch, f"batch: {batch}, {limits[batch]}"


def coverage(patch_size: Sequence[int], shape: Sequence[float]) -> float:
    """Share of the median image that lies within one patch."""
    return math.prod(min(edge, limit) for edge, limit in zip(patch_size, shape)) / math.prod(shape)
