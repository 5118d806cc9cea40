"""From prepared cases to scored models: trains folds, and predicts and scores the validation cases of each whole."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NoReturn

from ..changes import changed
from ..core.machine import give_back_unused
from ..core.regions import refuse_lossy
from ..data.dataset import Dataset
from ..data.fingerprint import Fingerprint
from ..data.folds import Fold, Folds
from ..errors import DatasetError, UsageError
from ..plan import Plan
from ..preprocessing.keys import preparation_keys
from ..preprocessing.store import StoredCase
from ..settings import RunSettings, resolve
from ..training.fit import CHECKPOINT_SECONDS
from ..training.initial import Donor
from ..training.process_group import ProcessGroup, process_group_of
from ..workspace import DatasetFolder
from . import announce
from .cascade import bring_to_grid, tell_first, unfinished
from .donor import Donors, begun_with
from .finish_plan import finish_plan, measure_here, prepare_missing, prepare_new
from .fold_processes import FoldProcesses
from .make_plan import refuse_early
from .missing import split_of_seen
from .recorded import recorded
from .train_fold import FoldRun, TrainingLength, prepared_cases, train_fold
from .validate_fold import validate_fold

LOG = logging.getLogger("autoseg")


def train(
    files: DatasetFolder,
    fold: str,
    *,
    configuration: str | None = None,
    epochs: int | None = None,
    seconds: float | None = None,
    changes: Sequence[str] = (),
    checkpoint_every: float = CHECKPOINT_SECONDS,
    extend: bool = False,
    only: Sequence[str] | None = None,
    fold_processes: FoldProcesses | None = None,
    at_end: Callable[[], None] | None = None,
    folder: Path | None = None,
    donors: Donors | None = None,
    settings: RunSettings | None = None,
) -> Path:
    """Trains ``fold`` (``0``-``4``, ``all``, or ``cv`` for all folds in turn) and returns the model's folder.

    A run that was stopped goes on from its last checkpoint; one that has finished is not trained again, but goes on
    until the length that is asked for where ``extend`` is True. ``epochs`` or ``seconds`` replace the plan's length,
    ``changes`` any of its values (``autoseg.changes``). In a cascade every fold of the earlier stage comes first, also
    for ``all``: only so is each case predicted by a network that has not seen it. ``only`` names the folds of ``cv``
    that are wanted; ``fold_processes`` trains them side by side; ``at_end`` is called once all are trained. A training
    begins with the weights of ``donors``; the earlier stages of a cascade do not. A dataset that was never prepared is
    read from ``folder`` first (None: that is refused); this machine is measured where the plan is a draft, and missing
    cases are prepared. Raises TrainingError, UsageError, DatasetError or WorkspaceError.
    """
    with process_group_of(settings or RunSettings()) as (group, settings):
        _refuse_first(files, donors, fold_processes, group, settings)
        if folder is not None:
            group.on_main(partial(prepare_new, files, folder, fold, settings))
        (dataset, folds), drafted = _read_usable(files), files.read_plan()
        names, splits = _named(fold, only, dataset, folds)
        scored = {name: files.run(configuration or drafted.default, name).scores.exists() for name in names}
        _refuse_lost_images(dataset, [splits[name] for name in names if extend or not scored[name]])
        refuse_early(drafted, changes, files.trusted)
        here = partial(measure_here, files=files, seconds=seconds, settings=settings)
        group.on_main(partial(finish_plan, files, fold_processes.plan if fold_processes else here))
        stages = _effective(files, configuration, epochs, changes)
        _refuse_gaps(stages, dataset)
        splits = {name: split_of_seen(split, stages[-1].task(), dataset) for name, split in splits.items()}
        group.on_main(partial(prepare_missing, files, stages, settings))

        def run_of(plan: Plan, name: str, donor: Donor | None = None) -> FoldRun:
            return FoldRun(files, plan, name, splits[name], settings, group, donor)

        length = TrainingLength(seconds, checkpoint_every, extend)
        run_all = fold_processes or partial(_in_turn, length=length, dataset=dataset)
        begun = {name: begun_with(stages[-1], files.run(stages[-1].default, name), donors) for name in names}
        wanted = [run_of(plan, name, donor) for name, (plan, donor) in begun.items()]
        cases = _all_prepared(stages, wanted)
        for earlier, plan, on_grid in zip(stages, stages[1:], cases[1:]):
            missing = unfinished(files, earlier, folds, settings.threads)
            tell_first(earlier.task(), plan.task(), missing)
            run_all([run_of(earlier, name) for name in missing])
            group.on_main(partial(bring_to_grid, files, earlier.task(), plan.task(), on_grid, settings.threads))
        run_all(wanted)
        group.on_main(partial(_end, at_end, dataset.name, fold))
    return files.runs(stages[-1].default)


def _end(at_end: Callable[[], None] | None, dataset: str, fold: str) -> None:
    if at_end is not None:
        at_end()
    announce.tell_next(dataset, fold)


def _in_turn(runs: Sequence[FoldRun], *, length: TrainingLength, dataset: Dataset) -> None:
    for run in runs:
        with recorded(run.folder, run.group.is_main) as status:
            train_fold(run, length, status)
            give_back_unused(resolve(run.settings).device)  # prediction asks how much memory is left
            if status is not None:
                status.tell(phase="validating")
                validate_fold(run, dataset)
                announce.ended(run)


def _read_usable(files: DatasetFolder) -> tuple[Dataset, Folds]:
    """Raises DatasetError for what would only be noticed when the training has ended."""
    dataset, folds = files.read_dataset(), files.read_folds()
    folds.refuse_unknown(dataset.keys, f"{files.folds} (correct it, or run `autoseg plan {dataset.name}`)")
    refuse_lossy(dataset.labels, files.dataset)
    return dataset, folds


def _all_prepared(stages: Sequence[Plan], runs: Sequence[FoldRun]) -> list[dict[str, StoredCase]]:
    """The cases of every stage; that one is missing is told now and not after hours."""
    keys = sorted({key for run in runs for key in (*run.split.train, *run.split.validation)})
    return [prepared_cases(runs[0].files, plan.task(), keys) for plan in stages]


def _named(
    fold: str, only: Sequence[str] | None, dataset: Dataset, folds: Folds
) -> tuple[Sequence[str], dict[str, Fold]]:
    """The folds to train, and the cases of these and of all numbered ones."""
    every = [str(number) for number in range(len(folds.folds))]
    names = (only or every or _no_folds(dataset)) if fold == "cv" else [fold]
    return names, {name: _split(name, dataset, folds) for name in (*every, *names)}


def _no_folds(dataset: Dataset) -> NoReturn:
    why = "one case and therefore " if len(dataset.cases) == 1 else ""
    raise UsageError(f"{dataset.name} has {why}no folds to validate on; train with fold `all`")


def _refuse_first(
    files: DatasetFolder,
    donors: Donors | None,
    fold_processes: FoldProcesses | None,
    group: ProcessGroup,
    settings: RunSettings,
) -> None:
    """Before anything begins, and not when it is the turn of the model or device that is not there."""
    if donors is not None:
        donors.refuse_early(files)
    _refuse_devices(fold_processes, group, settings)


def _refuse_devices(fold_processes: FoldProcesses | None, group: ProcessGroup, settings: RunSettings) -> None:
    if fold_processes and group.size > 1:
        raise UsageError("give either torchrun (one fold in several processes) or --devices (a fold in each)")
    for device in fold_processes.devices if fold_processes else (settings.device,):
        resolve(replace(settings, device=device))


def _refuse_lost_images(dataset: Dataset, splits: Iterable[Fold]) -> None:
    """Validation reads the files of its cases again: that they are gone must be told before hours of training."""
    keys = sorted({key for split in splits for key in split.validation})
    lost = [(key, path) for key in keys for path in dataset.case(key).files if not Path(path).exists()]
    if lost:
        key, path = lost[0]
        raise DatasetError(
            f"case {key}: {path} is not there any more, and {len(lost) - 1} other files of cases to validate on. Move "
            f"the dataset back to {dataset.folder}, or run `autoseg plan_and_preprocess FOLDER` with its new place"
        )


def _refuse_gaps(stages: Sequence[Plan], dataset: Dataset) -> None:
    """Validation would refuse what the plan does not know of, after hours: an edited one, or one of before."""
    tasks = [plan.task() for plan in stages if plan.task().configuration.channels is None]
    for case in dataset.cases:
        for task in tasks:
            if problem := task.problem_without(case.absent):
                raise DatasetError(f"case {case.key} {problem}. Run `autoseg plan {dataset.name}`, which plans for it")


def _split(fold: str, dataset: Dataset, folds: Folds) -> Fold:
    if fold == "all":
        return Fold(dataset.keys, ())
    return folds.named(fold)


def _before_training(plan: Plan, measured: Fingerprint) -> list[object]:
    """What cannot be changed any more when training begins: the prepared cases, and in which stages they are seen."""
    return [
        (configuration.previous, preparation_keys(measured, plan.task(name)))
        for name, configuration in plan.configurations.items()
    ]


def _is_for(others: tuple[str, ...], change: str) -> bool:
    if not change.strip().startswith(others):
        return False
    LOG.warning("--set %s changes nothing here: another configuration is trained", change)
    return True


def _effective(
    files: DatasetFolder,
    configuration: str | None,
    epochs: int | None,
    changes: Sequence[str],
) -> tuple[Plan, ...]:
    """For every stage up to the one that is wanted, the plan with its configuration, number of epochs and changes.

    Raises UsageError for a change that comes too late: cases are prepared already.
    """
    plan, measured = files.read_plan(), files.read_fingerprint()
    refuse_lossy(plan.labels, files.plan)
    name, _ = plan.configuration(configuration)
    chosen = {stage: plan.configurations[stage] for stage in plan.stages(name)}
    if epochs is not None:
        chosen = {
            stage: replace(planned, training=replace(planned.training, epochs=epochs))
            for stage, planned in chosen.items()
        }
    others = tuple(f"{other}." for other in plan.configurations if other not in chosen)
    changes = [change for change in changes if not _is_for(others, change)]
    plan = replace(plan, configurations=chosen, default=name)
    result = changed(plan, changes, files.trusted)
    if _before_training(result, measured) != _before_training(plan, measured):
        flags = " ".join(f"--set {change}" for change in changes)
        raise UsageError(
            f"{flags}: this decides how cases are prepared, which comes before training. "
            f"Run `autoseg plan {plan.dataset} {flags}` and `autoseg preprocess {plan.dataset}` first"
        )
    return tuple(
        replace(result, configurations={stage: result.configurations[stage]}, default=stage) for stage in chosen
    )
