"""Training steps counted for any machine, and timed on this one. What was timed is kept: noise changes no plan."""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..configuration import NETWORKS, Configuration, StepMemory
from ..core.amounts import bytes_text
from ..core.machine import available_on_gpu, memory_bytes, processor
from ..core.names import counted
from ..core.records import read_json, to_json, write_json
from ..errors import PlanningError, RecordError
from ..parts.contracts import Network
from ..planning.memory import elements_of_step
from ..planning.target import CPU_BESIDE, CPU_GAPS, GPU_CONTEXT, Target, gpu
from ..settings import Resolved, RunSettings, resolve
from ..task import Task

if TYPE_CHECKING:
    import torch

LOG = logging.getLogger("autoseg")
SHARE_OF_MAIN_MEMORY = 0.5  # for a training; a quarter may hold cases, the rest is the system's
LONGEST_TRIAL = 5.0  # seconds per step: of longer ones the time is reckoned from shorter ones
TOO_MUCH = 1.15  # times the memory there is: what a step is said to take for which it did not suffice
MARGIN = 0.04  # of a GPU's memory, which is left free: what other programs take of it changes
SMALLEST_PATCH = 2  # times the divisor of the network along an axis, of patches that are tried
ALIKE = 2.0  # steps with up to so many times more or fewer elements are as quick per element
VERSION = 3  # raise it when steps of the same configuration take another time or memory than before


@dataclass(frozen=True)
class StepTime:
    """What real steps showed."""

    what: str
    """Configuration and machine, for a person."""
    seconds: float
    bytes: int | None
    """Of the whole training; None where the system does not tell."""

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise ValueError(f"seconds must be above 0; found {self.seconds}")


@dataclass(frozen=True)
class Steps:
    """By keys that change with anything that a step's cost depends on."""

    counted: dict[str, StepMemory] = field(default_factory=dict)
    timed: dict[str, StepTime] = field(default_factory=dict)


class CountingBench:
    """A ``planning.search.Bench`` for a machine whose speed is known."""

    def __init__(
        self, target: Target, counted_for: Resolved, threads: int | None = None, kept: Path | None = None
    ) -> None:
        """``threads`` are those of a CPU, None for a GPU; ``kept`` is the file that remembers."""
        self.target = target
        self._resolved, self._threads, self._path = counted_for, threads, kept
        self.kept = Steps() if kept is None else _read(kept)
        """What was counted and timed."""

    def memory(self, task: Task) -> StepMemory:
        key = self._key(task)
        if key not in self.kept.counted:
            from ..training.accounting import step_memory

            counted = step_memory(task, self._resolved, self._threads)
            self._keep(replace(self.kept, counted={**self.kept.counted, key: counted}))
        return self.kept.counted[key]

    def seconds(self, task: Task) -> tuple[float, int | None]:
        if self.target.speed is None:
            raise ValueError(f"the speed of {self.target.name} is not known")
        return elements_of_step(task) / self.target.speed, None

    def _key(self, task: Task, *more: str) -> str:
        """Another one with anything that the cost of a step depends on."""
        import torch

        what = [VERSION, _essence(task), str(self._resolved.dtype), self._threads, torch.__version__, *more]
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:24]

    def _keep(self, steps: Steps) -> None:
        self.kept = steps
        if self._path is not None:
            write_json(self._path, steps, sealed=True)


class TimingBench(CountingBench):
    """A ``planning.search.Bench`` for this machine."""

    def __init__(self, settings: RunSettings, kept: Path | None) -> None:
        resolved = resolve(settings)
        threads = settings.threads if resolved.device.type == "cpu" else None
        counted_for = resolved if resolved.device.type in ("cpu", "cuda") else _elsewhere(resolved.dtype)
        super().__init__(this_machine(settings), counted_for, threads, kept)
        self._settings = settings
        self._rates: dict[str, float] = {}
        self._works: dict[str, int] = {}
        self._too_large: dict[str, StepTime] = {}  # not kept: the next time other programs may leave more memory

    def seconds(self, task: Task) -> tuple[float, int | None]:
        configuration = task.configuration
        work, kind = elements_of_step(task), _kind(configuration)
        key = self._key(task, self.target.name)
        known = {**self.kept.timed, **self._too_large}
        if key not in known and self._can_reckon(task, work, kind):
            return float(f"{work / self._rates[kind]:.2g}"), None
        found = known.get(key) or self._tried(task)
        if found is None:
            found = self._too_large[key] = self._reckoned(task, work, kind)
        elif key not in known:
            self._keep(replace(self.kept, timed={**self.kept.timed, key: found}))
        self._rates[kind] = work / found.seconds
        self._works[kind] = work
        return found.seconds, found.bytes

    def _can_reckon(self, task: Task, work: int, kind: str) -> bool:
        """Whether steps of the same kind were timed and these are too long to be tried, or so alike that they need not.

        On a GPU, and where much memory is taken, whatever can be tried is.
        """
        if kind not in self._rates:
            return False
        alike = 1 / ALIKE <= work / self._works[kind] <= ALIKE
        small = not self.target.gpu and self.target.total(self.memory(task)) < self.target.allowed / 2
        return work / self._rates[kind] > LONGEST_TRIAL or (alike and small)

    def _reckoned(self, task: Task, work: int, kind: str) -> StepTime:
        """Of a step that memory does not suffice for, with so many bytes that no planner takes it.

        Raises PlanningError where it does not suffice for the smallest step either.
        """
        taken = int(TOO_MUCH * max(self.target.allowed, self.target.total(self.memory(task))))
        if kind not in self._rates:  # nobody knows how quick such steps are: a smaller one is tried
            smaller = _smaller(task.configuration)
            if smaller is None:
                raise PlanningError(
                    f"{self.target.name} has too little memory for the smallest training step; end other programs on "
                    "it, or choose another --device"
                )
            self.seconds(replace(task, configuration=smaller))
        return StepTime(f"{task.name}, too large for {self.target.name}", work / self._rates[kind], taken)

    def _tried(self, task: Task) -> StepTime | None:
        """None where memory does not suffice."""
        from ..training.timed_steps import time_steps

        configuration = task.configuration
        network, patch = configuration.network, " x ".join(map(str, configuration.patch_size))
        features = f"{network.features[0]} to {max(network.features)} feature maps"
        what = f"{task.name}, patch {patch}, batch {configuration.batch_size}, {features}"
        LOG.info("timing training steps: %s", what)
        seen = time_steps(task, self._settings)
        if seen is None:
            LOG.info("  there is too little memory for such a step")
            return None
        beside = GPU_CONTEXT if self.target.gpu else CPU_BESIDE
        taken = None if seen.bytes is None else seen.bytes + beside
        counted, told = self.target.total(self.memory(task)), "" if taken is None else f", {bytes_text(taken)}"
        LOG.info("  %.2g s per step%s (counted: %s)", seen.seconds, told, bytes_text(counted))
        return StepTime(f"{what}, {self.target.name}", float(f"{seen.seconds:.2g}"), taken)


def this_machine(settings: RunSettings) -> Target:
    """What a plan for this machine may take: of a GPU what other programs leave, of the main memory half."""
    import torch

    device = resolve(settings).device
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        return gpu(f"this machine's {card.name}", _left(device, card.total_memory), None)
    threads = f"{counted(settings.threads, 'thread')} on {processor()}" if device.type == "cpu" else device.type
    name = f"this machine, {threads}, {bytes_text(memory_bytes())} of main memory"
    return Target(name, memory_bytes(), CPU_BESIDE, CPU_GAPS, device.type != "cpu", share=SHARE_OF_MAIN_MEMORY)


def _left(device: torch.device, total: int) -> int:
    """Bytes of a GPU for this process and its CUDA context; whole hundredths, so that planning again finds the same."""
    share = min(1.0, (available_on_gpu(device) + GPU_CONTEXT) / total) - MARGIN
    return max(0, int(100 * share)) * total // 100


def _smaller(configuration: Configuration) -> Configuration | None:
    """With half the patches, or with half a patch."""
    if configuration.batch_size > 1:
        return replace(configuration, batch_size=configuration.batch_size // 2)
    divisor, patch = configuration.network.divisor, list(configuration.patch_size)
    axis = max(range(len(patch)), key=lambda axis: patch[axis] // divisor[axis])
    times = patch[axis] // divisor[axis]
    if times < 2 * SMALLEST_PATCH:
        return None
    patch[axis] = times // 2 * divisor[axis]
    return replace(configuration, patch_size=tuple(patch))


def of_target(target: Target, kept: Path | None = None) -> CountingBench:
    """Counts what a step holds on a GPU that is not here: the same tensors, without oneDNN's working memory."""
    import torch

    return CountingBench(target, _elsewhere(torch.bfloat16), kept=kept)


def _elsewhere(dtype: torch.dtype | None) -> Resolved:
    """Tensors without data can only pretend to lie on devices that are here."""
    import torch

    return Resolved(torch.device("cpu"), dtype)


def _essence(task: Task) -> str:
    """All of a configuration that the cost of a step depends on."""
    configuration = task.configuration
    any_length, any_grid = replace(configuration.training, epochs=1), (None, 1.0, 1.0)
    configuration = replace(
        configuration, training=any_length, spacing=any_grid, median_shape=(1, 1, 1), cost=None, reasons=()
    )
    said = {name: value for name, value in to_json(configuration).items() if name != "missing"}  # costs nothing
    what = [said, len(task.seen), to_json(task.labels), _code_of(configuration.network)]
    return json.dumps(what, sort_keys=True)


def _code_of(network: Network) -> str | None:
    """Something that changes with the file of a network of the user's own; None for autoseg's, which have VERSION."""
    module = sys.modules[type(network).__module__]
    if module.__name__.startswith(f"{NETWORKS.package}.") or module.__file__ is None:
        return None
    return hashlib.sha256(Path(module.__file__).read_bytes()).hexdigest()


def _kind(configuration: Configuration) -> str:
    """Steps of the same kind take time in proportion to their elements."""
    network = configuration.network
    return f"{configuration.dimensions} {type(network).__module__} {network.features[0]}"


def _read(path: Path) -> Steps:
    """What was kept; nothing where there is none, or of another version."""
    try:
        return read_json(path, Steps)
    except RecordError as error:
        if path.exists():
            LOG.warning("%s; steps are counted and timed anew", error)
        return Steps()
