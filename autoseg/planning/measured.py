"""Planning by what a training costs on a given machine.

The decisions are those of ``Planner``; what is looked for are its values (``search.py``). A training sees as many
voxels as nnU-Net's does, or what the time allows (``length.py``); from that follows which configuration is trained by
default (``default.py``). What preparing needs can be had before: a draft.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..configuration import NETWORKS, Configuration
from ..data.dataset import Dataset
from ..data.fingerprint import Fingerprint
from ..errors import UsageError
from ..plan import Plan
from ..task import Task
from . import cost_reasons, reasons
from .constraints import NO_CONSTRAINTS, PlanConstraints
from .default import default_configuration
from .length import at_least, at_most, full_training, rated
from .named_network import part_of
from .planner import Planner
from .rungs import Rung, rungs_of
from .search import OVERHEAD, Bench, Search, like

SETTLED = ("3d_fullres", "2d")  # whose grids follow from the images alone: that of 3d_lowres follows from the patch
NNUNETS = "as many voxels as nnU-Net's training sees"
SAID_OF_IMAGES = ("axis order: ", "anisotropy: ", "channel ", "spacing: ", "missing channels: ")


@dataclass(frozen=True)
class MeasuringPlanner:
    """Values for planning by measurement."""

    name: str
    """The name of the file that holds this planner."""
    description: str
    rungs: tuple[Rung, ...]
    """From small to large."""
    patience: float
    """Seconds that one training may take on a processor unless the user says otherwise; on a GPU there is no limit."""
    reference: Planner
    """nnU-Net's: a training is long enough that sees as many voxels as its training would."""

    def plan(
        self,
        dataset: Dataset,
        fingerprint: Fingerprint,
        constraints: PlanConstraints = NO_CONSTRAINTS,
        bench: Bench | None = None,
        trusted: tuple[str, ...] = (),
    ) -> Plan:
        """Every decision for ``dataset``; ``trusted`` packages may hold the network that is asked for.

        Raises PlanningError when no sensible plan exists, UnknownPartError where there is no such network.
        """
        if bench is None:
            raise UsageError(f"planner {self.name} needs a machine to plan for")
        seconds = constraints.seconds or (None if bench.target.gpu else self.patience)
        asked = replace(constraints, memory=None, seconds=None, network=None, fusion=None, beside=())
        given = (dataset, fingerprint, asked)
        reference = self.reference.plan(*given)
        search = Search(given, bench, reference, constraints.memory or bench.target.allowed, seconds)
        rung, why = search.highest(self._rungs(constraints, trusted, reference.task()))
        planned = search.grown(rung)
        limits = {name: search.limit(rung, planned, name) for name in planned.configurations}
        configurations = {
            name: self._costed(search, planned, name, (f"network: {why}", limit)) for name, limit in limits.items()
        }
        planned = replace(planned, planner=self.name, configurations=configurations)
        planned = replace(planned, network=constraints.part, fusion=constraints.fusion)
        default, why = default_configuration(planned, limits, grid_is_wished=constraints.spacing is not None)
        reason = cost_reasons.target(bench.target, search.memory, seconds, asked=constraints)
        return replace(planned, default=default, reasons=(reason, why, *planned.reasons))

    def _rungs(self, constraints: PlanConstraints, trusted: tuple[str, ...], task: Task) -> tuple[Rung, ...]:
        if constraints.part is None:
            return self.rungs
        kind = NETWORKS.load(part_of(constraints.part), trusted)
        return rungs_of(constraints.part, kind, self.rungs, task, constraints.middle)

    def draft(self, dataset: Dataset, fingerprint: Fingerprint, constraints: PlanConstraints = NO_CONSTRAINTS) -> Plan:
        """What preparing needs, which is the same for every network and machine; all else is the first rung's.

        The network that ``constraints`` ask for is noted for the machine that trains. Raises PlanningError when no
        sensible plan exists.
        """
        planned = self.rungs[0].planner.plan(dataset, fingerprint)
        configurations = {
            name: replace(planned.configurations[name], reasons=_of_images(planned.configurations[name].reasons))
            for name in SETTLED
            if name in planned.configurations
        }
        told = (cost_reasons.draft(dataset.name, constraints.part), *_of_images(planned.reasons))
        drafted = replace(planned, planner=self.name, configurations=configurations, reasons=told, draft=True)
        return replace(drafted, network=constraints.part, fusion=constraints.fusion, beside=constraints.beside)

    def _costed(self, search: Search, plan: Plan, name: str, why: tuple[str, str]) -> Configuration:
        """The configuration with its cost, and the length and rate of training that follow from it.

        ``why``: the network, and what limits patch and batch.
        """
        configuration, cost = plan.configurations[name], search.cost(plan, name)
        reference = like(search.reference, plan, name)
        network, limit = why
        rules, length = at_least(configuration.training, full_training(configuration, reference)), NNUNETS
        if search.seconds is not None:
            possible = int(search.seconds / (cost.seconds * OVERHEAD))
            if rules.epochs * rules.iterations_per_epoch > possible:
                rules, length = at_most(rules, possible), "what the time allows"
        optimizer, rate = rated(configuration.optimizer, configuration.batch_size, reference.batch_size)
        told = [reason for reason in configuration.reasons if not reason.startswith("training:")]
        told += [
            network,
            *reasons.fusion(configuration, plan.channels),
            cost_reasons.memory(cost, limit),
            cost_reasons.time(cost),
            cost_reasons.training(rules, configuration, search.cases, cost, length),
        ]
        told += [] if rate is None else [rate]
        return replace(configuration, training=rules, optimizer=optimizer, cost=cost, reasons=tuple(told))


def _of_images(reasons: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(reason for reason in reasons if reason.startswith(SAID_OF_IMAGES))
