"""From what was measured on a dataset to a plan: the planner by its name, and what it plans for."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from ..bundle.trained import read_trained
from ..changes import changed
from ..configuration import NETWORKS, Configuration
from ..core.amounts import bytes_text
from ..core.family import Family
from ..data.dataset import Dataset
from ..data.fingerprint import Fingerprint
from ..errors import MistypedError, PlanningError, RecordError, UnknownPartError, UsageError
from ..interop.nnunet_planner import PlansFile
from ..plan import Plan
from ..planning.constraints import NO_CONSTRAINTS, PlanConstraints
from ..planning.decision import subsets, with_subsets
from ..planning.intensities import decide_intensities, read_wishes
from ..planning.measured import MeasuringPlanner
from ..planning.middle import with_middle
from ..planning.named_network import part_of, values_of
from ..planning.of_model import ModelPlan
from ..planning.reasons import alignment
from ..planning.rungs import chosen, count_sizes
from ..planning.search import Bench
from ..planning.target import read_target
from ..planning.unpaired import with_unpaired
from ..settings import RunSettings
from .changed_bench import ChangedBench

LOG = logging.getLogger("autoseg")
PLANNERS = Family("autoseg.planners", "PLANNER")
DEFAULT_PLANNER = "measured"
REFERENCE = "plain_unet"  # nnU-Net's rules, of which a model's plan takes what depends on the images


@dataclass(frozen=True)
class PlanRequest:
    """How a user wants a plan to be made."""

    planner: str | None = None
    """None: the default one."""
    plans: Path | None = None
    """nnU-Net's plans file, or a trained model, whose decisions are taken instead of a planner's."""
    constraints: PlanConstraints = NO_CONSTRAINTS
    """Come before the planner's rules."""
    target: str | None = None
    """The machine to plan for, a name or numbers; None: this one."""
    changes: Sequence[str] = ()
    """Replace values of the plan (``autoseg.changes``)."""
    settings: RunSettings = field(default_factory=RunSettings)
    trusted: tuple[str, ...] = ()

    @property
    def bare(self) -> bool:
        """Whether nothing is said about the plan (but its network) or the machine: the one that trains can decide."""
        said = (
            self.plans is not None
            or self.target is not None
            or bool(self.changes)
            or replace(self.constraints, network=None, fusion=None, beside=()) != NO_CONSTRAINTS
        )
        return not said and (self.settings.device, self.settings.precision) == ("auto", "auto")


def draft(request: PlanRequest, dataset: Dataset, fingerprint: Fingerprint) -> Plan | None:
    """What preparing needs, in a second; None where the request says more, or its planner measures nothing.

    Raises PlanningError where there is no sensible plan.
    """
    if not request.bare:
        return None
    planner = planner_of(request, dataset.channels)
    if not isinstance(planner, MeasuringPlanner):
        return None
    drafted = _unpaired(request, planner.draft(dataset, fingerprint, request.constraints), fingerprint)
    return _aligned(decide_intensities(drafted, request.constraints, fingerprint, request.trusted), dataset)


def _unpaired(request: PlanRequest, plan: Plan, fingerprint: Fingerprint) -> Plan:
    """For modalities of different cases, which nnU-Net's plans know nothing of."""
    return plan if request.plans is not None else with_unpaired(plan, fingerprint, request.constraints.part)


def _aligned(plan: Plan, dataset: Dataset) -> Plan:
    """With what was decided about the channels when they were measured."""
    if dataset.alignment is None:
        return plan
    reasons = (*plan.reasons, alignment(dataset.alignment, plan.channels))
    return replace(plan, alignment=dataset.alignment, reasons=reasons)


def make_plan(request: PlanRequest, dataset: Dataset, fingerprint: Fingerprint, kept: Path | None = None) -> Plan:
    """The plan. ``kept`` is the file that remembers what steps cost.

    Raises PlanningError where there is no sensible plan, UsageError for what the planner cannot do.
    """
    planner = planner_of(request, dataset.channels)
    intensities = partial(
        decide_intensities, constraints=request.constraints, fingerprint=fingerprint, trusted=request.trusted
    )
    read_wishes(request.constraints, dataset.channels, request.trusted)  # before a machine is measured for a minute
    if request.plans is None:
        LOG.info("planner %s: %s", request.planner or DEFAULT_PLANNER, planner.description)
    if isinstance(planner, MeasuringPlanner):
        drafted = intensities(_unpaired(request, planner.draft(dataset, fingerprint, request.constraints), fingerprint))
        refuse_early(drafted, request.changes, request.trusted)
        planned = _measured(planner, request, dataset, fingerprint, kept)
    elif request.target or request.constraints.memory or request.constraints.seconds:
        raise UsageError("--memory, --time and --target are for --planner measured: other planners have fixed budgets")
    else:
        planned = planner.plan(dataset, fingerprint, request.constraints)
    planned = _unpaired(request, planned, fingerprint)
    planned = with_subsets(intensities(_aligned(planned, dataset)), request.constraints.fusion)
    return changed(planned, request.changes, request.trusted)


def _measured(
    planner: MeasuringPlanner, request: PlanRequest, dataset: Dataset, fingerprint: Fingerprint, kept: Path | None
) -> Plan:
    """With a configuration for each fusion that is asked for beside the others, which gets a plan of its own."""
    bench = _bench(request, kept)

    def planned_for(asked: PlanConstraints, suffix: str = "") -> Plan:
        counted = ChangedBench(bench, request.changes, request.trusted, suffix)
        return planner.plan(dataset, fingerprint, asked, counted, request.trusted)

    first, *others = request.constraints.single
    planned = planned_for(first)
    for asked, fusion in zip(others, request.constraints.beside):
        LOG.info("fusion %s is planned for the same memory and time", fusion.written)
        try:
            planned = with_middle(planned, planned_for(asked, f"_{fusion.suffix}"))
        except PlanningError as error:
            raise PlanningError(f"--fusion {fusion.written}: {error}") from None
    return planned


def refuse_early(drafted: Plan, changes: Sequence[str], trusted: tuple[str, ...] = ()) -> None:
    """Raises for changes that fit no plan, before a machine is measured for a minute.

    Those of configurations that only measuring may give, and values that hang on others, have to wait.
    """
    known = {*drafted.configurations, *(field.name for field in dataclasses.fields(Configuration))}
    for change in changes:
        field = change.partition("=")[0].strip()
        if "." in field and field.partition(".")[0] not in known:
            continue
        if drafted.network is not None and re.search(r"(^|\.)network\.(?!name$)", field):
            continue  # a field of the network that was asked for, in whose place the draft has another
        if re.search(r"(^|\.)missing\.", field):
            continue  # the draft knows nothing of --missing-channels
        try:
            changed(drafted, [change], trusted)
        except (UsageError, UnknownPartError, MistypedError):
            raise
        except RecordError:
            if "training" in field.split(".")[:2]:  # hangs on nothing else
                raise


def planner_of(request: PlanRequest, channels: Sequence[str] | None = None) -> Any:
    """The planner, or the plans file in its place; no image is needed to refuse what it cannot do.

    Raises UsageError where it cannot plan the network that is asked for, or this is not for images of such
    ``channels``, UnknownPartError where there is none of that name.
    """
    asked = request.constraints
    if request.plans is not None:
        planner: Any = _taken_from(request.plans, request.trusted)
        for each in asked.single:
            each.refuse_network(request.plans.name)
        return planner
    name = request.planner or DEFAULT_PLANNER
    planner = PLANNERS.load(name, request.trusted)
    for each in asked.single:
        if each.part is None:
            continue
        if not isinstance(planner, MeasuringPlanner):
            each.refuse_network(name)
        kind = NETWORKS.load(part_of(each.part), request.trusted)
        count_sizes(each.part, kind)
        values_of(each.part, kind)
        if channels is not None:
            chosen(each.part, kind, channels, each.middle)
    if channels is not None:
        subsets(asked.fusion, channels, asked.beside)
    return planner


def _taken_from(path: Path, trusted: tuple[str, ...]) -> PlansFile | ModelPlan:
    """In the place of a planner: nnU-Net's plans file, or a trained model. Raises ModelError where it is neither."""
    if path.suffix == ".json":
        return PlansFile(path)
    trained = read_trained(path, trusted=trusted)
    best = next(iter(trained.manifest.ensemble))
    return ModelPlan(replace(trained.plan, default=best), trained.manifest.name, PLANNERS.load(REFERENCE))


def _bench(request: PlanRequest, kept: Path | None) -> Bench:
    from .bench import TimingBench, of_target

    target = request.target
    bench = TimingBench(request.settings, kept) if target is None else of_target(read_target(target), kept)
    asked, there = request.constraints.memory, bench.target.memory
    if asked is not None and asked > there:
        raise UsageError(
            f"{bytes_text(asked)} of memory are more than there are: {bench.target.name} has {bytes_text(there)}. "
            "To plan for another machine, name it with --target"
        )
    return bench
