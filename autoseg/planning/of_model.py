"""The plan of a trained model in the place of a planner, so that a training can begin with the model's weights.

What the weights depend on is the model's: spacing, patch, network, recipe. What depends on the images is decided anew
for this dataset: labels, channels, their normalisation, mirroring.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..configuration import Configuration
from ..data.dataset import Dataset
from ..data.fingerprint import Fingerprint
from ..errors import PlanningError, UsageError
from ..plan import Plan
from .constraints import NO_CONSTRAINTS, PlanConstraints
from .planner import Planner

TAKEN = ("patch_size", "batch_size", "network", "loss", "optimizer", "schedule", "training", "slices")


@dataclass(frozen=True)
class ModelPlan:
    """Takes the decisions of ``model`` for another dataset."""

    model: Plan
    name: str
    """Of the model, for people."""
    planner: Planner
    """Decides what depends on the images."""

    @property
    def description(self) -> str:
        return f"as decided for the model {self.name}"

    def plan(self, dataset: Dataset, fingerprint: Fingerprint, constraints: PlanConstraints = NO_CONSTRAINTS) -> Plan:
        """One configuration, the model's default. Raises PlanningError where the dataset has no images of its kind,
        UsageError for a model that needs what another one predicts."""
        name, chosen = self.model.configuration()
        if chosen.previous is not None:
            raise UsageError(
                f"--from {self.name}: {name} needs the predictions of {chosen.previous}; name a model without"
            )
        alone = self.planner.plan(dataset, fingerprint, constraints)
        wished = constraints.spacing or _on_files(chosen.spacing, alone.axis_order)
        usual = (
            alone if wished is None else self.planner.plan(dataset, fingerprint, replace(constraints, spacing=wished))
        )
        base = usual.configurations.get("2d" if chosen.dimensions == 2 else "3d_fullres")
        if base is None:
            raise PlanningError(
                f"--from {self.name}: {name} is {chosen.dimensions}-D, {dataset.name} has no such images"
            )
        taken: dict[str, Any] = {field: getattr(chosen, field) for field in TAKEN}
        found = replace(
            base,
            **taken,
            augmentation=replace(chosen.augmentation, masked_channels=base.augmentation.masked_channels),
            **_grid(base, chosen),
        )
        why = f"planner: spacing, patch, network and training of {name} of the model {self.name}"
        found = replace(found, reasons=(why,))
        about = tuple(reason for reason in usual.reasons if reason.startswith(("axis order", "channel ", "mirroring")))
        return replace(usual, planner="model", configurations={name: found}, default=name, reasons=about)


def _on_files(spacing: tuple[float | None, float, float], order: Sequence[int]) -> tuple[float, float, float] | None:
    """Along the files' axes; None where slices keep their distance."""
    if spacing[0] is None:
        return None
    x, y, z = (spacing[list(order).index(axis)] for axis in range(3))
    assert x is not None and y is not None and z is not None
    return x, y, z


def _grid(base: Configuration, chosen: Configuration) -> dict[str, Any]:
    """Of slices, the model's spacing within them."""
    if chosen.dimensions == 3:
        return {}
    (z, *old), (_, *new) = base.spacing, chosen.spacing
    shape = (max(1, round(size * one / two)) for size, one, two in zip(base.median_shape[1:], old, new))
    return {"spacing": (z, *new), "median_shape": (base.median_shape[0], *shape)}
