"""Training steps counted and timed with the loss and objective that the user chose: planners know the defaults only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..changes import changed
from ..configuration import StepMemory
from ..plan import Plan
from ..planning.search import Bench
from ..planning.target import Target
from ..task import Task

COUNTED = ("loss", "objective")  # what a plan takes from its user without asking what it costs


@dataclass(frozen=True)
class ChangedBench:
    """A ``planning.search.Bench`` that makes those of the ``changes`` that are of loss or objective."""

    bench: Bench
    changes: Sequence[str]
    trusted: tuple[str, ...]
    suffix: str = ""
    """What the plan adds to the names of the configurations that are counted: changes have the names in the plan."""

    @property
    def target(self) -> Target:
        return self.bench.target

    def memory(self, task: Task) -> StepMemory:
        return self.bench.memory(self._changed(task))

    def seconds(self, task: Task) -> tuple[float, int | None]:
        return self.bench.seconds(self._changed(task))

    def _changed(self, task: Task) -> Task:
        name = f"{task.name}{self.suffix}"
        fields = {change: change.partition("=")[0].strip().removeprefix(f"{name}.") for change in self.changes}
        chosen = [change for change, field in fields.items() if field.split(".")[0] in COUNTED]
        if not chosen:
            return task
        plan = Plan(
            dataset=task.dataset,
            planner="measured",
            axis_order=task.axis_order,
            channels=task.channels,
            labels=task.labels,
            file_ending=task.file_ending,
            mirror_axes=task.mirror_axes,
            configurations={name: task.configuration},
            default=name,
            orientation=task.orientation,
        )
        return replace(changed(plan, chosen, self.trusted).task(), name=task.name)
