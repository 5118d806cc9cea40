"""One algorithm from fingerprint to plan; a planner is a set of values for it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.labels import ExclusiveLabels, Labels
from ..dataset import Dataset
from ..errors import PlanningError
from ..fingerprint import Fingerprint
from ..parts.augmentations import standard
from ..parts.losses import dice_ce
from ..parts.resamplers import spline
from ..plan import Configuration, Plan, TrainingRules
from . import rules
from .patch import Budget, UNetSizes, batch_size, coverage, largest_patch
from .topology import Topology
from .wishes import NO_WISHES, Wishes

DUMMY_2D_ABOVE = 3.0  # longest edge over the first: a patch this flat is rotated within its slices, by any angle
OBLONG_ABOVE = 1.5  # 2-D: a patch this oblong is rotated by 15 degrees only (nnU-Net v2 2.8.1, as the line above)


@dataclass(frozen=True)
class Planner:
    """Values for the planning rules; ``plan`` applies the rules."""

    name: str
    """The name of the file that holds this planner."""
    description: str
    unet_2d: UNetSizes
    unet_3d: UNetSizes
    budget_2d: Budget
    budget_3d: Budget
    training: TrainingRules
    optimizer: Any
    schedule: Any
    mirror: bool = True
    """Whether to train on mirrored images, and to average over mirrored images in prediction."""
    largest_share: float = 0.05
    """Of all training voxels that one batch may hold: a guard against overfitting."""
    lowres_below: float = 0.25
    """A coarser configuration is planned when a patch has less than this share of the median image's voxels."""

    def plan(self, dataset: Dataset, fingerprint: Fingerprint, wishes: Wishes = NO_WISHES) -> Plan:
        """Every decision for ``dataset``. Raises PlanningError when no sensible plan exists."""
        if not fingerprint.cases:
            raise PlanningError(f"{dataset.name} has no training cases to plan for")
        spacing = wishes.spacing or rules.target_spacing(fingerprint)
        order = rules.axis_order(spacing)
        shape = rules.median_shape(fingerprint, spacing)[list(order)]
        grid = _Grid(np.array(spacing)[list(order)], shape, float(np.prod(shape)))
        draft = _Draft(
            planner=self,
            cases=len(fingerprint.cases),
            heads=_names(dataset.labels),
            normalizers=rules.normalizers(dataset.channels, fingerprint),
        )
        configurations = draft.configurations(grid)
        return Plan(
            dataset=dataset.name,
            planner=self.name,
            axis_order=order,
            channels=dataset.channels,
            labels=dataset.labels,
            file_ending=dataset.file_ending,
            mirror_axes=(0, 1, 2) if self.mirror else (),
            configurations=configurations,
            default=next(iter(configurations)),
        )


@dataclass(frozen=True)
class _Grid:
    """The median image at one spacing, in network axes."""

    spacing: np.ndarray
    shape: np.ndarray
    """Voxels; halves are possible, as a median may lie between two cases."""
    voxels: float


@dataclass(frozen=True)
class _Draft:
    """A planner at work on one dataset."""

    planner: Planner
    cases: int
    heads: int
    normalizers: tuple[Any, ...]

    def configurations(self, grid: _Grid) -> dict[str, Configuration]:
        """The one to take by default comes first."""
        found = {}
        if grid.shape[0] != 1:
            coarse = self._coarser_grid(grid)
            found["3d_fullres"] = self._configuration(grid, dimensions=3, batch_dice=coarse is not None)
            if coarse is not None:
                found["3d_lowres"] = self._configuration(coarse, dimensions=3, batch_dice=False)
        found["2d"] = self._configuration(grid, dimensions=2, batch_dice=True)
        return found

    def _coarser_grid(self, full: _Grid) -> _Grid | None:
        """The first coarser grid of which a patch sees enough; None where none is needed or worth it."""
        grid = full
        while math.prod(self._patch(grid, dimensions=3).patch_size) / grid.voxels < self.planner.lowres_below:
            grid = _Grid(*rules.coarser(grid.spacing, full.spacing, full.shape))
        return grid if full.voxels / grid.voxels >= rules.LOWRES_GAIN else None

    def _configuration(self, grid: _Grid, *, dimensions: int, batch_dice: bool) -> Configuration:
        planner = self.planner
        topology = self._patch(grid, dimensions=dimensions)
        sizes, budget = self._values(dimensions)
        _refuse_one_stage(topology, sizes)
        elements = sizes.elements(topology, self.heads)
        batch, why_batch = batch_size(
            elements,
            math.prod(topology.patch_size),
            budget=budget,
            training_voxels=grid.voxels * self.cases,
            largest_share=planner.largest_share,
        )
        z, y, x = grid.spacing.tolist()
        shape = grid.shape[-dimensions:].tolist()
        return Configuration(
            spacing=(z if dimensions == 3 else None, y, x),
            median_shape=_whole(grid.shape),
            patch_size=topology.patch_size,
            batch_size=batch,
            normalizers=self.normalizers,
            resampler=spline.Spec(),
            network=sizes.network(topology),
            loss=dice_ce.Spec(batch_dice=batch_dice),
            augmentation=_augmentation(topology.patch_size, self.normalizers),
            optimizer=planner.optimizer,
            schedule=planner.schedule,
            training=planner.training,
            reasons=(
                f"the median image has {_numbers(shape)} voxels of {_numbers(grid.spacing[-dimensions:])} mm",
                f"patch {_numbers(topology.patch_size)}: {coverage(topology.patch_size, shape):.0%} "
                f"of it, {topology.stages} stages, {elements / 1e6:.1f} million feature map elements "
                f"(budget {budget.elements / 1e6:.1f} million at batch {budget.batch})",
                why_batch,
            ),
        )

    def _patch(self, grid: _Grid, *, dimensions: int) -> Topology:
        sizes, budget = self._values(dimensions)
        spacing, shape = grid.spacing[-dimensions:].tolist(), grid.shape[-dimensions:].tolist()
        return largest_patch(spacing, shape, sizes=sizes, budget=budget, heads=self.heads)

    def _values(self, dimensions: int) -> tuple[UNetSizes, Budget]:
        planner = self.planner
        if dimensions == 2:
            return planner.unet_2d, planner.budget_2d
        return planner.unet_3d, planner.budget_3d


def _names(labels: Labels) -> int:
    """Entries that dataset.json lists under labels: nnU-Net's estimate counts one head for each, even for ignore."""
    foreground = len(labels.names) if isinstance(labels, ExclusiveLabels) else len(labels.regions) + 1
    return foreground + (labels.ignore is not None)


def _refuse_one_stage(topology: Topology, sizes: UNetSizes) -> None:
    if topology.stages < 2:
        edge = sizes.smallest_edge
        raise PlanningError(
            f"the images are too small for a U-Net: the largest patch is {_numbers(topology.patch_size)} voxels, and "
            f"to be halved once it needs two axes of {2 * edge} voxels or one of {3 * edge}"
        )


def _augmentation(patch_size: tuple[int, ...], normalizers: tuple[Any, ...]) -> standard.Spec:
    masked = tuple(index for index, part in enumerate(normalizers) if getattr(part, "mask", False))
    if len(patch_size) == 2:
        oblong = max(patch_size) / min(patch_size) > OBLONG_ABOVE
        return standard.Spec(rotation_degrees=15.0 if oblong else 180.0, masked_channels=masked)
    flat = max(patch_size) / patch_size[0] > DUMMY_2D_ABOVE
    return standard.Spec(dummy_2d=flat, rotation_degrees=180.0 if flat else 30.0, masked_channels=masked)


def _whole(shape: np.ndarray) -> tuple[int, int, int]:
    z, y, x = (max(1, round(edge)) for edge in shape.tolist())
    return z, y, x


def _numbers(values: Iterable[float]) -> str:
    return " x ".join(f"{value:.4g}" for value in values)
