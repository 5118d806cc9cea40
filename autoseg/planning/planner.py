"""One algorithm from fingerprint to plan; a planner is a set of values for it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..configuration import Configuration, TrainingRules
from ..core.labels import Labels
from ..data.dataset import Dataset
from ..data.fingerprint import Fingerprint
from ..errors import PlanningError
from ..parts.augmentations import standard
from ..parts.inputs import prior
from ..parts.losses import dice_ce
from ..parts.resamplers import spline
from ..plan import Plan
from . import reasons, rules
from .constraints import NO_CONSTRAINTS, PlanConstraints
from .mirror import mirror_axes
from .missing import with_missing_channels
from .neighbours import with_neighbours
from .patch import PatchFit, StepBudget, fit_patch
from .sizes import Sizes

DUMMY_2D_ABOVE = 3.0  # longest edge over the first: a patch this flat is rotated within its slices, by any angle
STANDARD = standard.Spec()
OBLONG_ABOVE = 1.5  # 2-D: a patch this oblong is rotated by 15 degrees only (nnU-Net v2 2.8.1, as the line above)


@dataclass(frozen=True)
class Planner:
    """Values for the planning rules; ``plan`` applies the rules."""

    name: str
    """The name of the file that holds this planner."""
    description: str
    unet_2d: Sizes
    unet_3d: Sizes
    budget_2d: StepBudget
    budget_3d: StepBudget
    training: TrainingRules
    optimizer: Any
    schedule: Any
    augmentation: standard.Spec = field(default_factory=standard.Spec)
    """Ranges and probabilities; what depends on the patch (angles, flat patches) is decided by rule."""
    mirror: bool = True
    """Whether to train on mirrored images, and to average over mirrored images in prediction."""
    slices: int = 1
    """That a 2-D network sees where slices lie far apart (configuration 2.5d); 1: only on request."""
    largest_share: float = 0.05
    """Of all training voxels that one batch may hold: a guard against overfitting."""
    lowres_below: float = 0.25
    """A coarser configuration is planned when a patch has less than this share of the median image's voxels."""
    dice_by_labels: bool = False
    """Whether the number of labels in a patch decides between one Dice per patch and one per batch."""
    budgets: Mapping[str, StepBudget] = field(default_factory=dict)
    """Of single configurations by name, instead of those of their dimensions."""

    def plan(self, dataset: Dataset, fingerprint: Fingerprint, constraints: PlanConstraints = NO_CONSTRAINTS) -> Plan:
        """Every decision for ``dataset``. Raises PlanningError when no sensible plan exists."""
        constraints.refuse_network(self.name)
        if not fingerprint.cases:
            raise PlanningError(f"{dataset.name} has no training cases to plan for")
        if len(fingerprint.intensities) != len(dataset.channels):
            raise PlanningError(
                f"{dataset.name} has {len(dataset.channels)} channels, its fingerprint {len(fingerprint.intensities)}; "
                f"run `autoseg fingerprint {dataset.name}` again"
            )
        wish = None if constraints.spacing is None else (constraints.spacing, "as you asked")
        spacing, why_spacing = wish or rules.target_spacing(fingerprint)
        order = rules.axis_order(spacing)
        shape = rules.median_shape(fingerprint, spacing)[list(order)]
        grid = _Grid(np.array(spacing)[list(order)], shape, float(np.prod(shape)), why_spacing)
        normalizers, why_normalized = rules.normalizers(dataset.channels, fingerprint)
        mirrored, why_mirrored = mirror_axes(dataset.labels, fingerprint, planned=self.mirror, wish=constraints.mirror)
        draft = _Draft(self, order, len(fingerprint.cases), _names(dataset.labels), normalizers)
        configurations, why_stages = draft.configurations(grid)
        if self.dice_by_labels:
            configurations = {
                name: rules.with_batch_dice(one, fingerprint, order) for name, one in configurations.items()
            }
        seen = configurations.get("2d"), self.slices, constraints.slices
        more, why_slices = with_neighbours(*seen, grid.spacing.tolist(), float(grid.shape[0]))
        plan = Plan(
            dataset=dataset.name,
            planner=self.name,
            axis_order=order,
            channels=dataset.channels,
            channel_sources=dataset.channel_sources,
            labels=dataset.labels,
            file_ending=dataset.file_ending,
            mirror_axes=tuple(index for index, axis in enumerate(order) if axis in mirrored),
            configurations=configurations | more,
            default=next(iter(configurations)),
            reasons=(
                reasons.axis_order(order, spacing),
                reasons.anisotropy(grid.spacing.tolist(), rules.ANISOTROPY),
                *(f"channel {channel}: {why}" for channel, why in zip(dataset.channels, why_normalized)),
                f"mirroring: {why_mirrored}",
                f"low resolution: {why_stages}",
                f"neighbouring slices: {why_slices}",
            ),
        )
        return with_missing_channels(plan, fingerprint, constraints)


@dataclass(frozen=True)
class _Grid:
    """The median image at one spacing, in network axes."""

    spacing: np.ndarray
    shape: np.ndarray
    """Voxels; halves are possible, as a median may lie between two cases."""
    voxels: float
    why: str


@dataclass(frozen=True)
class _Draft:
    """A planner at work on one dataset."""

    planner: Planner
    order: tuple[int, int, int]
    """The files' axes as the network sees them."""
    cases: int
    heads: int
    normalizers: tuple[Any, ...]

    def configurations(self, grid: _Grid) -> tuple[dict[str, Configuration], str]:
        """The one to take by default comes first; and why there is a coarser one or none."""
        found, why_not = {}, "the images are single slices" if grid.shape[0] == 1 else self._why_no_3d(grid)
        why = f"none, {why_not}"
        if why_not is None:
            coarse, why = self._coarser_grid(grid)
            found["3d_fullres"] = self._configuration("3d_fullres", grid, batch_dice=coarse is not None)
            if coarse is not None:
                found["3d_lowres"] = self._configuration("3d_lowres", coarse, batch_dice=False)
                found["3d_cascade_fullres"] = _after("3d_lowres", found["3d_fullres"])
        if not found or self._fit("2d", grid).topology.is_possible:  # a rod's slices are too small for a U-Net
            found["2d"] = self._configuration("2d", grid, batch_dice=True)
        return found, why

    def _why_no_3d(self, grid: _Grid) -> str | None:
        layout = self._fit("3d_fullres", grid).topology
        return None if layout.is_possible else self.planner.unet_3d.too_small(layout)

    def _coarser_grid(self, full: _Grid) -> tuple[_Grid | None, str]:
        """The first coarser grid of which a patch sees enough; None where none is needed or worth it. And why."""
        least = self.planner.lowres_below
        seen = math.prod(self._fit("3d_fullres", full).topology.patch_size) / full.voxels
        if seen >= least:
            return None, f"none, a patch has {seen:.0%} of the median image's voxels (needed below {least:.0%})"
        grid = full
        why = f"the finest grid, in steps of {rules.LOWRES_STEP - 1:.0%}, of which a patch has {least:.0%}"
        while math.prod(self._fit("3d_lowres", grid).topology.patch_size) / grid.voxels < least:
            grid = _Grid(*rules.coarser(grid.spacing, full.spacing, full.shape), why)
        gain = full.voxels / grid.voxels
        what = f"a patch has only {seen:.0%} of the median image's voxels; the grid of which it has {least:.0%}"
        if gain < rules.LOWRES_GAIN:
            return None, f"none, {what} has {gain:.2g} times fewer voxels, {rules.LOWRES_GAIN:g} are needed"
        return grid, f"3d_lowres, since {what} has {gain:.2g} times fewer voxels"

    def _configuration(self, name: str, grid: _Grid, *, batch_dice: bool) -> Configuration:
        planner, found = self.planner, self._fit(name, grid)
        sizes, _ = self._values(name)
        topology, dimensions = found.topology, len(found.topology.patch_size)
        if not topology.is_possible:
            raise PlanningError(sizes.too_small(topology))
        z, y, x = grid.spacing.tolist()
        shape = grid.shape[-dimensions:].tolist()
        return Configuration(
            spacing=(z if dimensions == 3 else None, y, x),
            median_shape=_whole(grid.shape),
            patch_size=topology.patch_size,
            batch_size=found.batch,
            normalizers=self.normalizers,
            resampler=spline.Spec(),
            network=sizes.network(topology),
            loss=dice_ce.Spec(batch_dice=batch_dice),
            augmentation=augmentation_for(topology.patch_size, self.normalizers, planner.augmentation),
            optimizer=planner.optimizer,
            schedule=planner.schedule,
            training=planner.training,
            reasons=(
                f"spacing: {reasons.numbers(grid.spacing[-dimensions:])} mm: {grid.why}",
                reasons.patch(
                    topology, grid.spacing[-dimensions:].tolist(), shape, found.elements, found.budget, self.order
                ),
                found.why_batch,
                reasons.training(planner.training, found.batch, self.cases),
            ),
        )

    def _fit(self, name: str, grid: _Grid) -> PatchFit:
        """Patch and batch for the configuration ``name`` on ``grid``."""
        dimensions = _dimensions(name)
        sizes, budget = self._values(name)
        return fit_patch(
            grid.spacing[-dimensions:].tolist(),
            grid.shape[-dimensions:].tolist(),
            sizes=sizes,
            budget=budget,
            heads=self.heads,
            training_voxels=grid.voxels * self.cases,
            largest_share=self.planner.largest_share,
        )

    def _values(self, name: str) -> tuple[Sizes, StepBudget]:
        planner = self.planner
        sizes, budget = (
            (planner.unet_2d, planner.budget_2d) if _dimensions(name) == 2 else (planner.unet_3d, planner.budget_3d)
        )
        return sizes, planner.budgets.get(name, budget)


def _dimensions(name: str) -> int:
    return 2 if name == "2d" else 3


def _after(previous: str, configuration: Configuration) -> Configuration:
    """``configuration`` as the second stage of a cascade."""
    why = f"cascade: sees what {previous} has predicted as further channels, one per label; all else as in 3d_fullres"
    return replace(configuration, inputs=(prior.Spec(previous),), reasons=(why, *configuration.reasons))


def _names(labels: Labels) -> int:
    """Entries that dataset.json lists under labels: nnU-Net's estimate counts one head for each, even for ignore."""
    return labels.heads + (not labels.exclusive) + (labels.ignore is not None)


def augmentation_for(
    patch_size: tuple[int, ...], normalizers: tuple[Any, ...], values: standard.Spec = STANDARD
) -> standard.Spec:
    """``values`` with what the patch and the normalisation decide: angles, flat patches, masked channels."""
    masked = tuple(index for index, part in enumerate(normalizers) if part.mask)
    if len(patch_size) == 2:
        oblong = max(patch_size) / min(patch_size) > OBLONG_ABOVE
        return replace(values, rotation_degrees=15.0 if oblong else 180.0, masked_channels=masked)
    flat = max(patch_size) / patch_size[0] > DUMMY_2D_ABOVE
    return replace(values, dummy_2d=flat, rotation_degrees=180.0 if flat else 30.0, masked_channels=masked)


def _whole(shape: np.ndarray) -> tuple[int, int, int]:
    z, y, x = (max(1, round(edge)) for edge in shape.tolist())
    return z, y, x
