"""nnU-Net's plans file in the place of a planner: autoseg trains with what nnU-Net, or its user, has decided."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ..core.names import short
from ..data.dataset import Dataset
from ..data.fingerprint import Fingerprint
from ..errors import RecordError, UsageError
from ..plan import Plan
from ..planning.constraints import NO_CONSTRAINTS, PlanConstraints
from ..planning.mirror import mirror_axes
from ..planning.missing import with_missing_channels
from .nnunet_configurations import intensities, read_plan_of
from .nnunet_json import read_object


@dataclass(frozen=True)
class PlansFile:
    """A plans file of nnU-Net in the place of a planner."""

    path: Path

    @property
    def description(self) -> str:
        return f"as decided in {self.path}"

    def plan(self, dataset: Dataset, fingerprint: Fingerprint, constraints: PlanConstraints = NO_CONSTRAINTS) -> Plan:
        """The file's decisions for ``dataset``, whose labels and channels count; nnU-Net's training recipe.

        Which axes are mirrored is not said in a plans file: it follows from the labels, as with any planner. Raises
        RecordError for a file that is not for these channels, UsageError for constraints that a finished plan cannot
        meet.
        """
        if constraints.spacing is not None or constraints.slices is not None:
            raise UsageError("--spacing and --slices are for planners; change the plans that are read, or use --set")
        where = str(self.path)
        plans = read_object(self.path)
        channels = len(intensities(plans, where))
        if channels != len(dataset.channels):
            named = short(", ".join(dataset.channels), 300)
            raise RecordError(
                f"{where} is for {channels} channels, {dataset.name} has {len(dataset.channels)}: {named}"
            )
        planned = read_plan_of(plans, dataset.channels, dataset.labels, dataset.file_ending, where)
        axes, why = mirror_axes(dataset.labels, fingerprint, wish=constraints.mirror, orientation=planned.orientation)
        mirrored = tuple(index for index, axis in enumerate(planned.axis_order) if axis in axes)
        reasons = (*planned.reasons, f"mirroring: {why}")
        planned = replace(
            planned,
            dataset=dataset.name,
            channel_sources=dataset.channel_sources,
            mirror_axes=mirrored,
            reasons=reasons,
        )
        return with_missing_channels(planned, fingerprint, constraints)
