"""What each network would cost in place of the one that was planned: parameters, memory, seconds per step."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..configuration import NETWORKS
from ..core.mishaps import explained
from ..core.names import short
from ..core.progress import progress
from ..errors import AutosegError, UsageError
from ..settings import RunSettings
from ..task import Task
from ..workspace import DatasetFolder
from .bench import TimingBench

LOG = logging.getLogger("autoseg")
FAMILY = "networks"
BYTES_PER_PARAMETER = 4  # of weights in training


def refuse_other_family(family: str | None) -> None:
    """Raises UsageError for what costs nothing by itself."""
    if family != FAMILY:
        raise UsageError("with a dataset it is networks that are listed, with what they cost: name this family")


@dataclass(frozen=True)
class NetworkCost:
    """Of one network."""

    name: str
    size: str | None
    """Which of the sizes of its ladder, as ``1 of 4``; None: the plan's own network."""
    patch_size: tuple[int, ...]
    parameters: int | None
    bytes: int | None
    """That a training holds, counted."""
    seconds: float | None
    """Of a training step, timed on this machine."""
    problem: str | None
    """Why it cannot be had for this plan."""


def network_costs(
    files: DatasetFolder, names: Sequence[str], configuration: str | None = None, settings: RunSettings | None = None
) -> tuple[str, list[NetworkCost]]:
    """The name of the plan's configuration, and the networks ``names`` with its patch and batch.

    Each network but the plan's own is taken in the size of its ladder that has the place of the plan's on its own one,
    for the plan's patch, which becomes larger where the network asks for multiples. Raises WorkspaceError where nothing
    was planned.
    """
    plan = files.read_plan()
    task, bench = plan.task(configuration), TimingBench(settings or RunSettings(), files.steps)
    place = _place(task)
    costs = [_cost(name, task, place, bench) for name in progress(names, len(names), "timing networks")]
    return task.name, costs


def _place(task: Task) -> int:
    """Of the plan's network on its ladder: the size with the same finest feature maps; 0 where none has."""
    configuration = task.configuration
    try:
        ladder = type(configuration.network).ladder(_spacing(task), configuration.patch_size)
    except ValueError:
        return 0
    own = configuration.network.features[0]
    return next((place for place, each in enumerate(ladder) if each.features[0] == own), 0)


def _spacing(task: Task) -> tuple[float, ...]:
    configuration = task.configuration
    return tuple(edge for edge in configuration.spacing[-len(configuration.patch_size) :] if edge is not None)


def _cost(name: str, task: Task, place: int, bench: Any) -> NetworkCost:
    patch, size = task.configuration.patch_size, None
    try:
        if NETWORKS.name_of(task.configuration.network) != name:
            task, size = _with(name, task, place)
            patch = task.configuration.patch_size
        memory = bench.memory(task)
        parameters, held = memory.weights // BYTES_PER_PARAMETER, bench.target.total(memory)
        if held > bench.target.memory:
            return NetworkCost(name, size, patch, parameters, held, None, f"more memory than {bench.target.name} has")
        return NetworkCost(name, size, patch, parameters, held, bench.seconds(task)[0], None)
    except (AutosegError, ValueError, ImportError, RuntimeError) as error:
        why = explained(error) or str(error) if isinstance(error, AutosegError | ImportError) else str(error)
        return NetworkCost(name, size, patch, None, None, None, short(why.split("\n")[0], 300))


def _with(name: str, task: Task, place: int) -> tuple[Task, str]:
    """Raises ValueError where there is no such network for this patch or these channels."""
    configuration = task.configuration
    ladder = NETWORKS.load(name).ladder(_spacing(task), configuration.patch_size)
    if not ladder:
        raise ValueError("it says nothing of its sizes")
    number = min(place, len(ladder) - 1)
    network = ladder[number]
    network.check_inputs(task.inputs)
    patch = tuple(math.ceil(edge / step) * step for edge, step in zip(configuration.patch_size, network.divisor))
    return (
        replace(task, configuration=replace(configuration, network=network, patch_size=patch)),
        f"{number + 1} of {len(ladder)}",
    )
