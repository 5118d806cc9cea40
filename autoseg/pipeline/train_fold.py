"""One training: whether it may go on, on which cases, until its weights are written."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from ..core.files import make_folder, refuse_folder
from ..core.progress import duration
from ..core.records import write_json
from ..core.weights import read_weights
from ..data.folds import Fold
from ..errors import ModelError, TrainingError, WorkspaceError
from ..newest import note_made
from ..plan import Plan
from ..preprocessing.estimates import Estimates, estimates_of
from ..preprocessing.inputs import with_inputs
from ..preprocessing.keys import preparation_keys, prepared_as
from ..preprocessing.priors import PriorStore
from ..preprocessing.store import CaseStore, StoredCase
from ..run_folder import RunFolder
from ..run_status import StatusFile
from ..settings import RunSettings
from ..task import Task
from ..training.batches import training_sampler, validation_sampler
from ..training.budget import Budget
from ..training.cases import ReadableCase
from ..training.fit import CHECKPOINT_SECONDS, Course, fit
from ..training.initial import Donor
from ..training.process_group import SINGLE_PROCESS, ProcessGroup, refuse_small_batch
from ..training.state import TrainingState, iteration_of, keep_newest, resume, save_weights, start
from ..workspace import DatasetFolder
from . import announce
from .validation_monitor import validation_monitor

LOG = logging.getLogger("autoseg")


def kept_estimates(files: DatasetFolder, task: Task) -> dict[str, Estimates]:
    """Case to where the workspace keeps what its filters find slowly; nothing where nothing is filtered."""
    return estimates_of(files.estimates, files.read_fingerprint()) if any(task.configuration.filters) else {}


@dataclass(frozen=True)
class FoldRun:
    """One fold of one configuration: what is trained, on what, where."""

    files: DatasetFolder
    plan: Plan
    """What is written beside the weights: the plan with the one configuration that is trained, after every change."""
    fold: str
    """A number or ``all``."""
    split: Fold
    settings: RunSettings
    group: ProcessGroup = SINGLE_PROCESS
    """The processes that train it together."""
    donor: Donor | None = None
    """The network that it begins with."""

    @cached_property
    def task(self) -> Task:
        return self.plan.task()

    @cached_property
    def estimates(self) -> dict[str, Estimates]:
        """See ``kept_estimates``."""
        return kept_estimates(self.files, self.task)

    @property
    def folder(self) -> RunFolder:
        return self.files.run(self.task.name, self.fold)

    @property
    def name(self) -> str:
        return f"{self.task.name} fold_{self.fold}"


@dataclass(frozen=True)
class TrainingLength:
    """How long to train, and how that is watched."""

    seconds: float | None = None
    """None: the epochs of the plan."""
    checkpoint_every: float = CHECKPOINT_SECONDS
    """Seconds."""
    extend: bool = False
    """Whether a fold that has finished goes on until this length."""


def train_fold(run: FoldRun, length: TrainingLength, status: StatusFile | None = None) -> None:
    """Trains until the budget is spent and writes the weights; a fold that has finished is left alone or extended.

    While it is extended, its old weights stay what they were. Weights that are damaged or gone are written anew from
    the last checkpoint, if training had come to its end there. Raises TrainingError or WorkspaceError.
    """
    folder, task = run.folder, run.task
    finished = _is_finished(run)
    if finished and not length.extend:
        folder.read_plan()  # which prediction needs, too
        LOG.info("%s has finished; train it longer with --extend, or remove %s to start anew", run.name, folder.root)
        return
    refuse_small_batch(task.configuration.batch_size, run.group)
    _refuse_folders(folder)
    _refuse_another_plan(run)
    cases = _prepared(run)
    state = start(task, run.settings, run.donor)
    budget = Budget.of(task.configuration, length.seconds)
    if resume(state, folder.checkpoints):
        parts = f", each batch in {state.parts} parts since memory was too little" if state.parts > 1 else ""
        LOG.info("continuing after iteration %d (%s)%s", state.iteration, duration(state.seconds_trained), parts)
    if state.ended and length.extend:
        state.final, state.volumes_iteration = None, state.iteration
    if finished and not _extended(run, state, budget):
        return
    run.group.refuse_other("checkpoint", state.iteration)
    if state.ended and not length.extend:
        LOG.info("%s had come to its end: its weights are written from its last checkpoint", run.name)
    else:
        _fit(run, length, state, cases, budget, status)
    if not run.group.is_main:
        return
    if not state.ended:
        shutil.rmtree(folder.validation, ignore_errors=True)  # of the weights that are replaced now
    save_weights(folder.weights, state.result, state.iteration)
    note_made(folder.made)
    keep_newest(folder.checkpoints, 1)  # what --extend goes on from


def _is_finished(run: FoldRun) -> bool:
    """Whether whole weights are there. Those that are damaged are as none: they are written again."""
    path = run.folder.weights
    if not path.exists():
        return False
    try:
        read_weights(path, f"{run.task.name}/fold_{run.fold}", "they are written anew")
    except ModelError as error:
        LOG.warning("%s", error)
        return False
    return True


def _refuse_folders(folder: RunFolder) -> None:
    """Hours later it would be too late. Raises WorkspaceError where files cannot be written."""
    files = (folder.weights, folder.made, folder.effective, folder.metrics, folder.scores, folder.calibration)
    for path in files:
        refuse_folder(path)
    for path in (folder.checkpoints, folder.validation, folder.probabilities):
        if path.exists():
            make_folder(path)


def _fit(
    run: FoldRun,
    length: TrainingLength,
    state: TrainingState,
    cases: Mapping[str, ReadableCase],
    budget: Budget,
    status: StatusFile | None,
) -> None:
    folder, task, split, settings = run.folder, run.task, run.split, run.settings
    if run.group.is_main:
        write_json(folder.effective, run.plan, sealed=True)
    announce.begun(run, budget, [cases[key].shape for key in split.validation])
    sampled = training_sampler(cases, split.train, task, settings.seed, run.group)
    patches = validation_sampler(cases, split.validation, task, settings.seed)
    if task.configuration.training.patience and not split.validation:
        LOG.warning("fold all has no validation cases: --patience cannot end its training early")
    monitor = validation_monitor(cases, split.validation, task, settings) if split.validation else None
    course = Course(budget, length.checkpoint_every, monitor, status, run.group)
    validation = patches if split.validation else None
    state.ended = False
    fit(state, task, sampled, validation, course=course, settings=settings, folder=folder)


def _extended(run: FoldRun, state: TrainingState, budget: Budget) -> bool:
    """Whether there is anything to do for a finished fold. The schedule is then that of one long training."""
    trained = iteration_of(run.folder.weights)
    if state.iteration < trained:
        raise TrainingError(
            f"{run.folder.root} cannot be extended: its last checkpoint is gone. Remove it to start anew"
        )
    if state.iteration > trained:  # an extension that was stopped
        return True
    state.final, state.volumes_iteration = None, state.iteration
    if budget.progress(state) >= 1:
        LOG.info("%s has been trained %d iterations, which is no less than was asked for", run.name, trained)
        return False
    return True


def _refuse_another_plan(run: FoldRun) -> None:
    """A started run goes on with the decisions it started with; only its length may change."""
    folder, plan = run.folder, run.plan
    if not folder.has_checkpoint:
        return
    before = folder.read_plan()
    (_, old), (name, new) = before.configuration(), plan.configuration()
    rules = replace(old.training, epochs=new.training.epochs, patience=new.training.patience)
    old = replace(old, training=rules, cost=new.cost, reasons=new.reasons)
    decided = {**vars(before), "configurations": {name: old}}
    told = ("reasons", "fusion", "beside")  # what else was planned changes nothing here
    if any(value != getattr(plan, field) for field, value in decided.items() if field not in told):
        raise TrainingError(
            f"{folder.root} was started with another plan than {plan.dataset} has now. "
            f"Take back the change in plan.json or --set, or remove {folder.root} to start anew"
        )


def _prepared(run: FoldRun) -> Mapping[str, ReadableCase]:
    cases = prepared_cases(run.files, run.task, (*run.split.train, *run.split.validation))
    if not run.task.configuration.inputs and run.task.configuration.channels is None:
        return cases
    return with_inputs(cases, run.task, PriorStore(run.files.priors(run.task.name)))


def prepared_cases(files: DatasetFolder, task: Task, keys: Iterable[str]) -> dict[str, StoredCase]:
    """What the network of ``task`` sees of the cases.

    Raises WorkspaceError naming a case that was not prepared, or was prepared for other decisions.
    """
    store = CaseStore(files.prepared(prepared_as(files.read_plan(), task.name)))
    cases = {key: store.open(key) for key in keys}
    expected = preparation_keys(files.read_fingerprint(), task)
    stale = [key for key, stored in cases.items() if stored.case.content != expected.get(key)]
    if stale:
        raise WorkspaceError(
            f"{len(stale)} cases, {stale[0]} among them, were prepared before plan.json or their files changed; "
            f"run `autoseg preprocess {task.dataset}` again"
        )
    return cases
