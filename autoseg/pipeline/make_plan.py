"""From what was measured on a dataset to a plan: the planner by its name, and what it plans for."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..changes import changed
from ..configuration import Configuration
from ..core.amounts import bytes_text
from ..core.family import Family
from ..data.dataset import Dataset
from ..data.fingerprint import Fingerprint
from ..errors import MistypedError, RecordError, UnknownPartError, UsageError
from ..interop.nnunet_planner import PlansFile
from ..plan import Plan
from ..planning.constraints import NO_CONSTRAINTS, PlanConstraints
from ..planning.measured import MeasuringPlanner
from ..planning.search import Bench
from ..planning.target import read_target
from ..settings import RunSettings
from .changed_bench import ChangedBench

LOG = logging.getLogger("autoseg")
PLANNERS = Family("autoseg.planners", "PLANNER")
DEFAULT_PLANNER = "measured"


@dataclass(frozen=True)
class PlanRequest:
    """How a user wants a plan to be made."""

    planner: str | None = None
    """None: the default one."""
    plans: Path | None = None
    """nnU-Net's plans file, whose decisions are taken instead of a planner's."""
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
        """Whether nothing is said about the plan or the machine: all can be left to the one that trains."""
        said = (
            self.plans is not None
            or self.target is not None
            or bool(self.changes)
            or self.constraints != NO_CONSTRAINTS
        )
        return not said and (self.settings.device, self.settings.precision) == ("auto", "auto")


def draft(request: PlanRequest, dataset: Dataset, fingerprint: Fingerprint) -> Plan | None:
    """What preparing needs, in a second; None where the request says more, or its planner measures nothing.

    Raises PlanningError where there is no sensible plan.
    """
    if not request.bare:
        return None
    planner = PLANNERS.load(request.planner or DEFAULT_PLANNER, request.trusted)
    return planner.draft(dataset, fingerprint) if isinstance(planner, MeasuringPlanner) else None


def make_plan(request: PlanRequest, dataset: Dataset, fingerprint: Fingerprint, kept: Path | None = None) -> Plan:
    """The plan. ``kept`` is the file that remembers what steps cost.

    Raises PlanningError where there is no sensible plan, UsageError for what the planner cannot do.
    """
    planner = PlansFile(request.plans) if request.plans else _planner(request)
    if isinstance(planner, MeasuringPlanner):
        refuse_early(planner.draft(dataset, fingerprint), request.changes, request.trusted)
        planned = planner.plan(dataset, fingerprint, request.constraints, _bench(request, kept))
    elif request.target or request.constraints.memory or request.constraints.seconds:
        raise UsageError("--memory, --time and --target are for --planner measured: other planners have fixed budgets")
    else:
        planned = planner.plan(dataset, fingerprint, request.constraints)
    return changed(planned, request.changes, request.trusted)


def refuse_early(drafted: Plan, changes: Sequence[str], trusted: tuple[str, ...] = ()) -> None:
    """Raises for changes that fit no plan, before a machine is measured for a minute.

    Those of configurations that only measuring may give, and values that hang on others, have to wait.
    """
    known = {*drafted.configurations, *(field.name for field in dataclasses.fields(Configuration))}
    for change in changes:
        field = change.partition("=")[0].strip()
        if "." in field and field.partition(".")[0] not in known:
            continue
        try:
            changed(drafted, [change], trusted)
        except (UsageError, UnknownPartError, MistypedError):
            raise
        except RecordError:
            if "training" in field.split(".")[:2]:  # hangs on nothing else
                raise


def _planner(request: PlanRequest) -> Any:
    name = request.planner or DEFAULT_PLANNER
    chosen = PLANNERS.load(name, request.trusted)
    LOG.info("planner %s: %s", name, chosen.description)
    return chosen


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
    return ChangedBench(bench, request.changes, request.trusted)
