"""Planning by what a training costs on a given machine.

The decisions are those of ``Planner``; what is looked for are its values (``search.py``). How long to train follows
from the time, the seconds per step and the size of the dataset. What preparing needs can be had before: a draft.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ..dataset import Dataset
from ..errors import UsageError
from ..fingerprint import Fingerprint
from ..plan import Configuration, Plan, TrainingRules
from . import cost_reasons
from .search import OVERHEAD, Bench, Rung, Search
from .wishes import NO_WISHES, Wishes

SETTLED = ("3d_fullres", "2d")  # whose grids follow from the images alone: that of 3d_lowres follows from the patch
SAID_OF_IMAGES = ("axis order: ", "anisotropy: ", "channel ", "spacing: ")


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
    most_iterations: int
    most_passes: float
    """Times that the training data's voxels are seen at most, in patches."""

    def plan(
        self, dataset: Dataset, fingerprint: Fingerprint, wishes: Wishes = NO_WISHES, bench: Bench | None = None
    ) -> Plan:
        """Every decision for ``dataset``. Raises PlanningError when no sensible plan exists."""
        if bench is None:
            raise UsageError(f"planner {self.name} needs a machine to plan for")
        seconds = wishes.seconds or (None if bench.target.gpu else self.patience)
        task = (dataset, fingerprint, replace(wishes, memory=None, seconds=None))
        search = Search(task, bench, wishes.memory or bench.target.allowed, seconds)
        rung, why = search.highest(self.rungs)
        planned = search.grown(rung)
        configurations = {name: self._costed(search, planned, name, rung, why) for name in planned.configurations}
        reason = cost_reasons.target(bench.target, search.memory, seconds, asked=wishes)
        return replace(planned, planner=self.name, configurations=configurations, reasons=(reason, *planned.reasons))

    def draft(self, dataset: Dataset, fingerprint: Fingerprint) -> Plan:
        """What preparing needs, which is the same for every network and machine; all else is the first rung's.

        Raises PlanningError when no sensible plan exists.
        """
        planned = self.rungs[0].planner.plan(dataset, fingerprint)
        configurations = {
            name: replace(planned.configurations[name], reasons=_of_images(planned.configurations[name].reasons))
            for name in SETTLED
            if name in planned.configurations
        }
        reasons = (cost_reasons.draft(dataset.name), *_of_images(planned.reasons))
        return replace(planned, planner=self.name, configurations=configurations, reasons=reasons, draft=True)

    def _costed(self, search: Search, plan: Plan, name: str, rung: Rung, why: str) -> Configuration:
        """The configuration with its cost, and the length of training that follows from it."""
        configuration, cost = plan.configurations[name], search.cost(plan, name)
        voxels = math.prod(configuration.median_shape) * search.cases
        passes = voxels / (configuration.batch_size * math.prod(configuration.patch_size))
        limits = {
            self.most_iterations: "the most this planner takes",
            max(self.rungs[0].iterations, int(self.most_passes * passes)): f"{self.most_passes:g} passes over the data",
        }
        if search.seconds is None:
            limits[self.rungs[-1].iterations] = "a full training"
        else:
            limits[int(search.seconds / (cost.seconds * OVERHEAD))] = "what the time allows"
        rules = _length(rung.planner.training, min(limits))
        told = [reason for reason in configuration.reasons if not reason.startswith("training:")]
        told += [
            f"network: {why}",
            cost_reasons.memory(cost, search.limit(rung, plan, name)),
            cost_reasons.time(cost),
            cost_reasons.training(rules, configuration, search.cases, cost, limits[min(limits)]),
        ]
        return replace(configuration, training=rules, cost=cost, reasons=tuple(told))


def _of_images(reasons: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(reason for reason in reasons if reason.startswith(SAID_OF_IMAGES))


def _length(rules: TrainingRules, iterations: int) -> TrainingRules:
    """At most so many iterations, in epochs of a number with two digits: no plan changes for a millisecond."""
    epochs = max(1, iterations // rules.iterations_per_epoch)
    step = 10 ** max(0, len(str(epochs)) - 2)
    return replace(rules, epochs=epochs // step * step)
