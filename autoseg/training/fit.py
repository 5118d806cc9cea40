"""The training loop."""

from __future__ import annotations

import logging
import time
from contextlib import closing
from dataclasses import dataclass, field

from ..configuration import Configuration, TrainingRules
from ..core.progress import duration
from ..errors import StoppedError, TrainingError, WorkspaceError
from ..run_folder import RunFolder
from ..run_status import StatusFile
from ..settings import Resolved, RunSettings, resolve
from ..task import Task
from .arithmetic import arithmetic, chosen_forward
from .batches import PatchSampler, batches
from .budget import Budget, final_phase
from .early_stopping import ValidationMonitor, on_plateau
from .epoch import Epoch
from .log import MetricsTable, advance, bar
from .prefetch import Prefetch
from .process_group import SINGLE_PROCESS, ProcessGroup
from .signals import Signals, signals
from .state import TrainingState, save
from .step import Step

LOG = logging.getLogger("autoseg")
CHECKPOINT_SECONDS = 600.0
SECONDS_UNTIL_ANOTHER_TRY = 60.0  # to write a checkpoint
SKIPS_IN_A_ROW = 3  # that end a training


@dataclass(frozen=True)
class Course:
    """How long a training goes on, and what goes on beside it."""

    budget: Budget
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    monitor: ValidationMonitor | None = None
    """What ``TrainingRules.patience`` looks at; None: training does not end before its budget is spent."""
    status: StatusFile | None = None
    group: ProcessGroup = SINGLE_PROCESS


def fit(
    state: TrainingState,
    task: Task,
    training: PatchSampler,
    validation: PatchSampler | None,
    *,
    course: Course,
    settings: RunSettings,
    folder: RunFolder,
) -> None:
    """Trains ``state`` until its budget is spent; returns at once when it already is.

    Writes checkpoints and ``metrics.csv`` into ``folder``. With a budget of iterations, on a CPU, with the same number
    of threads, a training that was killed and resumed ends bit-identical to one that was not. Raises StoppedError when
    it was asked to stop, after saving, and TrainingError when three steps in a row give no finite loss.
    """
    resolved, group, configuration = resolve(settings), course.group, task.configuration
    rules = configuration.training
    table = MetricsTable.open(folder.metrics, state.iteration)
    readers = 1 if resolved.device.type == "cpu" else settings.threads  # a CPU's cores belong to the network
    origin = time.monotonic() - state.seconds_trained
    skipped: list[tuple[str, ...]] = []
    with (
        arithmetic(settings, resolved),
        signals(folder.stop) as asked,
        closing(batches(training, state.iteration, readers, ahead=2)) as source,
        bar(course.budget.progress(state), hidden=not group.is_main) as shown,
    ):
        step = _step(state, task, settings, resolved, course)
        epoch = Epoch(task, validation, course.budget, resolved, table, course.monitor, group.is_main)
        attend = _Attendant(course, rules, folder, asked)
        prefetch = Prefetch(source, step.augmented, state.iteration, resolved.device)
        while (progress := attend(state, epoch)) < 1:
            inputs = prefetch.take()
            parts = state.parts
            loss = step(state, inputs, progress, meanwhile=prefetch.prepare)
            if state.parts != parts:
                _tell_parts(state, configuration)
            skipped = _noted(loss, state, inputs.keys, skipped)
            state.iteration += 1
            state.seconds_trained = time.monotonic() - origin
            epoch.count(state, prefetch.waited)
            advance(shown, course.budget.progress(state), state.iteration, loss)
            if state.iteration % rules.iterations_per_epoch == 0:
                epoch.end(state)
        if epoch.iterations or state.losses:  # of an epoch that is not whole
            epoch.end(state)
        attend.last(state, epoch)


def _step(state: TrainingState, task: Task, settings: RunSettings, resolved: Resolved, course: Course) -> Step:
    """Compiles the network where that pays."""
    group, configuration = course.group, task.configuration
    shape = (len(group.shard(configuration.batch_size)), task.inputs.read, *configuration.patch_size)

    def seconds_left(pace: float) -> float:
        return course.budget.seconds_left(state, pace)

    forward = group.data_parallel(chosen_forward(state.network, shape, settings, resolved, seconds_left))
    return Step.of(task, resolved, settings.seed, forward, group)


@dataclass
class _Attendant:
    """Mutable: looks, between two iterations, after requests from outside, checkpoints and what is told."""

    course: Course
    rules: TrainingRules
    folder: RunFolder
    asked: Signals
    saved: float = field(default_factory=time.monotonic)

    def __call__(self, state: TrainingState, epoch: Epoch) -> float:
        """The progress by which all processes go on. Raises StoppedError, after saving, when asked to stop."""
        progress = self.course.budget.progress(state)
        ending = progress < 1 and state.final is None and (self.asked.finish() or on_plateau(state, self.rules))
        due = ending or self.asked.due() or time.monotonic() - self.saved >= self.course.checkpoint_seconds
        progress, state.seconds_trained, *orders = self.course.group.agreed(
            progress, state.seconds_trained, ending, due, self.asked.stop.is_set()
        )
        ending, due, stopping = map(bool, orders)
        if ending:
            state.final = final_phase(state, progress, self.rules.iterations_per_epoch)
            count = state.final.iterations
            LOG.info("the learning rate now falls to 0 within %d iterations, then training ends", count)
        if due and not self._saved(state) and stopping:
            raise TrainingError(f"stopped after iteration {state.iteration}, which could not be saved, as said above")
        if ending:
            self._forget_request()
        self.tell(state, epoch, at_once=stopping)
        if stopping:
            raise StoppedError(f"stopped after iteration {state.iteration}; to go on, run the same command again")
        return progress

    def last(self, state: TrainingState, epoch: Epoch) -> None:
        """After the last iteration."""
        self.tell(state, epoch)
        self._saved(state, ended=True)
        self._forget_request()

    def _forget_request(self) -> None:
        if self.folder.stop.is_file():
            self.folder.stop.unlink(missing_ok=True)

    def _saved(self, state: TrainingState, *, ended: bool = False) -> bool:
        """Writes a checkpoint. Where that fails (a full disk, a drive that is away), training goes on and tries again.

        Torch says RuntimeError when it cannot write.
        """
        every = self.course.checkpoint_seconds
        try:
            if self.course.group.is_main:
                save(state, self.folder.checkpoints, ended=ended)
        except (OSError, RuntimeError, WorkspaceError) as error:
            again = min(every, SECONDS_UNTIL_ANOTHER_TRY)
            LOG.error("no checkpoint could be written, trying again in %s: %s", duration(again), error)
            self.saved = time.monotonic() - every + again
            return False
        self.saved = time.monotonic()
        return True

    def tell(self, state: TrainingState, epoch: Epoch, *, at_once: bool = True) -> None:
        """Into the status file."""
        status, budget = self.course.status, self.course.budget
        if status is not None:
            (status.tell if at_once else status.beat)(
                iteration=state.iteration,
                progress=min(1.0, budget.progress(state)),
                seconds_per_iteration=epoch.pace,
                seconds_left=budget.seconds_left(state, epoch.pace),
                dice=state.volumes_dice or state.best_dice,
            )


def _tell_parts(state: TrainingState, configuration: Configuration) -> None:
    LOG.warning(
        "there was too little memory for iteration %d. From here on a batch of %d patches is computed in %d parts, the "
        "gradients of which are added up: the weights become the same, but a step takes about a third longer. To avoid "
        "that, end other programs on the device, or run `autoseg plan` with less --memory and train anew",
        state.iteration + 1,
        configuration.batch_size,
        state.parts,
    )


def _noted(
    loss: float | None, state: TrainingState, keys: tuple[str, ...], skipped: list[tuple[str, ...]]
) -> list[tuple[str, ...]]:
    """Notes the loss of a step on patches of ``keys``; returns those of steps skipped one after the other, up to it."""
    if loss is not None:
        state.losses.append(loss)
        return []
    skipped = [*skipped, keys]
    LOG.warning("iteration %d skipped: loss or gradient is not finite; cases %s", state.iteration, _cases([keys]))
    if len(skipped) == SKIPS_IN_A_ROW:
        raise TrainingError(
            f"loss or gradient was not finite {SKIPS_IN_A_ROW} times in a row, on patches of {_cases(skipped)}. "
            "Look for broken voxels there (`autoseg check`), lower optimizer.learning_rate, or use --precision float32"
        )
    return skipped


def _cases(skipped: list[tuple[str, ...]]) -> str:
    return ", ".join(sorted({key for keys in skipped for key in keys}))
