"""The values of a planner for which a training just fits into memory and time.

Networks form a ladder (``rungs.py``). The highest rung is taken whose iterations fit into the time and whose patches
fit into the memory; then patch and batch grow until memory or the time of a step is used up, or the data are: first the
patch, as far as it sees more of an image, then the batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Protocol

from ..configuration import Configuration, StepCost, StepMemory
from ..core.amounts import bytes_text
from ..core.progress import duration
from ..data.dataset import Dataset
from ..data.fingerprint import Fingerprint
from ..errors import PlanningError
from ..plan import Plan
from ..task import Task
from .constraints import PlanConstraints
from .memory import elements_of_step
from .patch import SMALLEST_BATCH, StepBudget, uncut_patch
from .rungs import Rung
from .target import Target

WELL_USED = 0.93  # of the memory: no better patch is looked for
SAFE = 0.99  # of the memory is aimed at, since one patch's bytes per element are taken for another
UNLIMITED = 1e18  # elements
ROUNDS = 12  # of planning and counting; two or three are the rule
OVERHEAD = 1.08  # a training beside its steps: reading, looks at validation patches (measured on two cores)
TWICE_AS_QUICK = 2.0  # per element: what a wider network cannot be, compared with the one before
WHOLE = 0.75  # an image of which the time holds as much is seen whole, in so many times as many iterations
HALF = 0.5  # of the patches that a rung is meant for must fit into the memory, of its iterations into the time
SMALLEST_WORK = 1e6  # feature map elements that a step may have however short the time
PARTLY = {"3d_cascade_fullres": "3d_fullres", "2.5d": "2d"}  # planned as another configuration, with more channels


class Bench(Protocol):
    """Counts and times training steps."""

    @property
    def target(self) -> Target: ...

    def memory(self, task: Task) -> StepMemory:
        """What a training step holds, counted."""

    def seconds(self, task: Task) -> tuple[float, int | None]:
        """Seconds of such a step, and the bytes a training was seen to take if real steps were run."""


@dataclass
class Search:
    """Mutable: remembers how quick steps were."""

    given: tuple[Dataset, Fingerprint, PlanConstraints]
    bench: Bench
    reference: Plan
    """Whose batches are no more than a full training may take, however small the planner's own largest."""
    memory: int
    """Bytes that a training may take."""
    seconds: float | None
    """That a training may take; None: any."""
    rates: dict[int, float] = field(default_factory=dict)
    """Elements per second by dimensions, for the rung that was chosen."""
    excess: float = 1.0
    """How much more memory real steps took than was counted."""

    @property
    def cases(self) -> int:
        return len(self.given[1].cases)

    def highest(self, rungs: tuple[Rung, ...]) -> tuple[Rung, str]:
        """The rung to take, and why none above it."""
        if self.seconds is None:
            roomy = (rung for rung in reversed(rungs) if self._has_room(rung))
            return self._explained(rungs, next(roomy, rungs[0]), None)
        chosen, rate = rungs[0], 0.0
        for rung in rungs:
            if rung is not rungs[0] and not self._has_room(rung):
                return self._explained(rungs, chosen, None)
            plan = self.within(rung, meant=True, default_only=True)
            work = self._work(plan, plan.default)
            needed = work / (TWICE_AS_QUICK * rate) * rung.iterations * OVERHEAD if rate else 0.0
            if needed <= self.seconds:
                seconds = self.bench.seconds(plan.task())[0]
                needed, rate = seconds * rung.iterations * OVERHEAD, work / seconds
            if rung is not rungs[0] and needed > self.seconds:
                return self._explained(rungs, chosen, needed)
            chosen = rung
        return self._explained(rungs, chosen, None)

    def _explained(self, rungs: tuple[Rung, ...], chosen: Rung, needed: float | None) -> tuple[Rung, str]:
        """``needed``: seconds that the next rung would take at least; None: it is not for its time."""
        number = f"number {rungs.index(chosen) + 1} of {len(rungs)} sizes"
        what = f"{_title(chosen)}, {'as you asked' if chosen.by_name else number}"
        if chosen is rungs[-1] or chosen.planner.unet_3d == rungs[-1].planner.unet_3d:
            return chosen, f"{what}, the largest"
        after = rungs[rungs.index(chosen) + 1]
        if needed is None:
            return chosen, f"{what}: the next, {_title(after)}, is for patches that this memory does not hold"
        long = f"{after.iterations} iterations, in which it would earn its size, take {duration(needed)} or more"
        return chosen, f"{what}: with the next, {_title(after)}, {long}"

    def _has_room(self, rung: Rung) -> bool:
        """Whether the memory holds half of the patches that the rung is meant for, or all that the data ask for."""
        meant = rung.planner.plan(*self.given)
        return self._work_in_memory(meant, meant.default) >= HALF * self._work(meant, meant.default)

    def grown(self, rung: Rung) -> Plan:
        """The plan whose patches and batches use what memory and time allow."""
        if self.seconds is not None:
            plan = self.within(rung, meant=True)
            for name in dict.fromkeys((plan.default, *(name for name in plan.configurations if name == "2d"))):
                dimensions = plan.configurations[name].dimensions
                self.rates[dimensions] = self._work(plan, name) / self.bench.seconds(plan.task(name))[0]
        for _ in range(ROUNDS):
            plan = self.within(rung, meant=False)
            costs = [self.cost(plan, name) for name in plan.configurations]
            over = max((cost.memory_measured or 0) / cost.allowed for cost in costs)
            if over <= 1.0:
                break
            self.excess *= over / SAFE
        return plan

    def within(self, rung: Rung, *, meant: bool, default_only: bool = False) -> Plan:
        """A plan that takes no more memory than allowed, and, unless ``meant``, no more time per step.

        ``meant``: nor larger patches and batches than the rung is meant for. Raises PlanningError.
        """
        budgets: dict[str, StepBudget] = {}
        ceilings: dict[str, float] = {}
        plan, fitting = rung.planner.plan(*self.given), None
        for _ in range(ROUNDS):
            for name in _judged(plan, default_only):
                taken = self._taken(plan, name)
                if taken > self.memory:  # never again as much: else two patches might alternate for ever
                    ceilings[name] = min(ceilings.get(name, math.inf), SAFE * self._work(plan, name))
                elif name in budgets and taken >= WELL_USED * self.memory:
                    continue
                budgets[name] = self._budget(rung, plan, name, ceilings.get(name, math.inf), meant=meant)
            before, plan = plan, self._planned(rung, budgets)
            if all(self._taken(plan, name) <= self.memory for name in _judged(plan, default_only)):
                fitting = plan
                if _sizes(plan) == _sizes(before):
                    break
        if fitting is None:
            raise PlanningError(f"no patch fits into {bytes_text(self.memory)} of memory; give more (--memory)")
        return fitting

    def _planned(self, rung: Rung, budgets: dict[str, StepBudget]) -> Plan:
        """Configurations that are planned as others share the smaller budget."""
        shared = {name: budget for name, budget in budgets.items() if name not in PARTLY}
        if "3d_fullres" in shared:  # until it has its own: with that of the rung it would not be needed
            shared.setdefault("3d_lowres", shared["3d_fullres"])
        for name, whole in PARTLY.items():
            if name in budgets and whole in shared:
                shared[whole] = min(shared[whole], budgets[name], key=lambda budget: budget.elements)
        try:
            return replace(rung.planner, budgets=shared).plan(*self.given)
        except PlanningError as error:
            raise PlanningError(f"{error}; {bytes_text(self.memory)} of memory do not hold more") from None

    def _budget(self, rung: Rung, plan: Plan, name: str, ceiling: float, *, meant: bool) -> StepBudget:
        """What the configuration may cost, judged by what it costs as it is in ``plan``; no more than ``ceiling``."""
        base = self._base(rung, plan, name)
        limits = [self._work_in_memory(plan, name), ceiling]
        if limits[0] <= 0:
            raise PlanningError(
                f"{bytes_text(self.memory)} of memory are too little: libraries, weights and gradients alone take "
                f"{bytes_text(self._fixed(plan, name))}; give more (--memory)"
            )
        if meant:
            limits.append(base.elements * base.batch)
        elif self.rates:
            limits.append(self._work_in_time(rung, plan, name))
        return replace(base, elements=min(limits) / base.batch)

    def _base(self, rung: Rung, plan: Plan, name: str) -> StepBudget:
        """What the rung is meant for, as a limit; batches of a full training are no smaller than the reference's."""
        base = _meant(rung, plan.configurations[name])
        largest = base.largest_batch
        if self.seconds is None and largest is not None:
            largest = max(largest, like(self.reference, plan, name).batch_size)
        return replace(base, strict=True, largest_batch=largest)

    def _work_in_memory(self, plan: Plan, name: str) -> float:
        """Elements of a step that the memory holds beside libraries, weights and gradients; below 0: not even these."""
        fixed = self._fixed(plan, name)
        per_element = (self._taken(plan, name) - fixed) / self._work(plan, name)
        return SAFE * (self.memory - fixed) / per_element

    def _fixed(self, plan: Plan, name: str) -> int:
        return self.bench.target.beside + self.bench.memory(plan.task(name)).fixed

    def _work_in_time(self, rung: Rung, plan: Plan, name: str) -> float:
        """Elements of a step of which the rung's iterations fit into the time.

        What the rung is meant for is not cut as long as half of its iterations fit, nor an image for a few voxels.
        """
        if self.seconds is None:
            return math.inf
        configuration = plan.configurations[name]
        base = _meant(rung, configuration)
        rate = self.rates.get(configuration.dimensions) or min(self.rates.values())
        work = rate * self.seconds / (rung.iterations * OVERHEAD)
        work = max(work, min(base.elements * base.batch, work / HALF), SMALLEST_WORK)
        whole = _whole(rung, plan, name)
        return whole if WHOLE * whole <= work < whole else work

    def _taken(self, plan: Plan, name: str) -> float:
        return self.excess * self.bench.target.total(self.bench.memory(plan.task(name)))

    def _work(self, plan: Plan, name: str) -> int:
        return elements_of_step(plan.task(name))

    def cost(self, plan: Plan, name: str) -> StepCost:
        """Of one training of a configuration."""
        counted, target = self.bench.memory(plan.task(name)), self.bench.target
        seconds, measured = self.bench.seconds(plan.task(PARTLY.get(name, name)))
        return StepCost(
            target=target.name,
            counted=counted,
            memory=target.total(counted),
            allowed=self.memory,
            seconds=seconds,
            memory_measured=measured,
            timed=target.speed is None,
        )

    def limit(self, rung: Rung, plan: Plan, name: str) -> str:
        """What kept patch and batch from being larger: ``memory``, ``time`` or ``data``."""
        configuration, whole = plan.configurations[name], PARTLY.get(name, name)
        base = self._base(rung, plan, name)
        freely = self._planned(rung, {whole: replace(base, elements=UNLIMITED)}).configurations
        if whole in freely and _size(freely[whole]) == _size(configuration):
            return "data"
        limits = {"memory": self._work_in_memory(plan, name), "time": self._work_in_time(rung, plan, name)}
        return min(limits, key=lambda limit: limits[limit])


def _title(rung: Rung) -> str:
    return rung.planner.unet_3d.title


def _judged(plan: Plan, default_only: bool) -> list[str]:
    return [plan.default] if default_only else list(plan.configurations)


def like(reference: Plan, plan: Plan, name: str) -> Configuration:
    """The configuration of ``reference`` that sees images as ``name`` of ``plan`` does, or in as many dimensions."""
    flat = plan.configurations[name].dimensions == 2
    choices = (PARTLY.get(name, name), "2d" if flat else "3d_fullres", reference.default)
    return reference.configurations[next(choice for choice in choices if choice in reference.configurations)]


def _meant(rung: Rung, configuration: Configuration) -> StepBudget:
    """What the rung is meant for."""
    return rung.planner.budget_2d if configuration.dimensions == 2 else rung.planner.budget_3d


def _whole(rung: Rung, plan: Plan, name: str) -> int:
    """Elements of a step with the fewest patches, if these are not cut."""
    configuration = plan.configurations[name]
    dimensions, flat = configuration.dimensions, configuration.dimensions == 2
    sizes = rung.planner.unet_2d if flat else rung.planner.unet_3d
    spacing = [edge for edge in configuration.spacing if edge is not None]
    uncut = uncut_patch(spacing, configuration.median_shape[-dimensions:], sizes)
    return SMALLEST_BATCH * sizes.elements(uncut, plan.labels.heads)


def _sizes(plan: Plan) -> dict[str, tuple[tuple[int, ...], int]]:
    return {name: _size(one) for name, one in plan.configurations.items()}


def _size(configuration: Configuration) -> tuple[tuple[int, ...], int]:
    return configuration.patch_size, configuration.batch_size
