"""From prepared cases to scored models: trains folds, and predicts and scores the validation cases of each whole."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from ..changes import changed
from ..dataset import Dataset
from ..errors import UsageError
from ..fingerprint import Fingerprint
from ..folds import Fold, Folds
from ..plan import Plan
from ..settings import RunSettings
from ..training.fit import CHECKPOINT_SECONDS
from ..training.team import team_of
from ..workspace import DatasetFolder
from .at_once import AtOnce
from .before_training import measure_here, prepare_missing, settle_plan
from .cascade import bring_to_grid, tell_first, unfinished
from .plan_and_preprocess import preparation_keys
from .recorded import recorded
from .train_fold import FoldRun, Wanted, prepared_cases, train_fold
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
    at_once: AtOnce | None = None,
    settings: RunSettings | None = None,
    trusted: tuple[str, ...] = (),
) -> Path:
    """Trains ``fold`` (``0``-``4``, ``all``, or ``cv`` for all folds in turn) and returns the model's folder.

    A run that was stopped goes on from its last checkpoint; one that has finished is not trained again, but goes on
    until the length that is asked for where ``extend`` is True. ``epochs`` or ``seconds`` replace the plan's length,
    ``changes`` any of its values (``autoseg.changes``). In a cascade every fold of the earlier stage comes first, also
    for ``all``: only so is each case predicted by a network that has not seen it. ``only`` names the folds of ``cv``
    that are wanted; ``at_once`` trains them side by side. Where planning has left it to training, this machine is
    measured first, and what is missing is prepared. Raises TrainingError, UsageError or WorkspaceError.
    """
    dataset, folds = files.read_dataset(), files.read_folds()
    every = [str(number) for number in range(len(folds.folds))]
    names = (only or every) if fold == "cv" else [fold]
    splits = {name: _split(name, dataset, folds) for name in (*every, *names)}
    with team_of(settings or RunSettings()) as (team, settings):
        if at_once and team.size > 1:
            raise UsageError("give either torchrun (one fold in several processes) or --devices (a fold in each)")
        here = partial(measure_here, files=files, seconds=seconds, settings=settings, trusted=trusted)
        team.led(partial(settle_plan, files, at_once.plan if at_once else here, trusted))
        stages = _effective(files, configuration, epochs, changes, trusted)
        team.led(partial(prepare_missing, files, stages, settings, trusted))

        def run_of(plan: Plan, name: str) -> FoldRun:
            return FoldRun(files, plan, name, splits[name], settings, trusted, team)

        run_all = at_once or partial(_in_turn, wanted=Wanted(seconds, checkpoint_every, extend), dataset=dataset)
        wanted = [run_of(stages[-1], name) for name in names]
        keys = sorted({key for run in wanted for key in (*run.split.train, *run.split.validation)})
        cases = [prepared_cases(files, plan, keys, trusted) for plan in stages]  # nothing is missing after hours
        for earlier, plan, on_grid in zip(stages, stages[1:], cases[1:]):
            missing = unfinished(files, earlier, folds, trusted, settings.threads)
            tell_first(earlier, plan, missing)
            run_all([run_of(earlier, name) for name in missing])
            team.led(partial(bring_to_grid, files, earlier, plan, on_grid, settings.threads))
        run_all(wanted)
    return files.runs(stages[-1].default)


def _in_turn(runs: Sequence[FoldRun], *, wanted: Wanted, dataset: Dataset) -> None:
    for run in runs:
        with recorded(run.folder, run.team.leads) as status:
            train_fold(run, wanted, status)
            if status is not None:
                status.tell(phase="validating")
                validate_fold(run, dataset)


def _split(fold: str, dataset: Dataset, folds: Folds) -> Fold:
    if fold == "all":
        return Fold(dataset.keys, ())
    if not fold.isdecimal():
        raise UsageError(f"fold {fold!r} is unknown; give a number, `all` or `cv`")
    return folds[int(fold)]


def _before_training(plan: Plan, measured: Fingerprint) -> list[object]:
    """What cannot be changed any more when training begins: the prepared cases, and in which stages they are seen."""
    return [
        (configuration.previous, preparation_keys(measured, plan, configuration))
        for configuration in plan.configurations.values()
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
    trusted: tuple[str, ...],
) -> tuple[Plan, ...]:
    """For every stage up to the one that is wanted, the plan with its configuration, number of epochs and changes.

    Raises UsageError for a change that comes too late: cases are prepared already.
    """
    plan, measured = files.read_plan(trusted), files.read_fingerprint()
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
    result = changed(plan, changes, trusted)
    if _before_training(result, measured) != _before_training(plan, measured):
        flags = " ".join(f"--set {change}" for change in changes)
        raise UsageError(
            f"{flags}: this decides how cases are prepared, which comes before training. "
            f"Run `autoseg plan {plan.dataset} {flags}` and `autoseg preprocess {plan.dataset}` first"
        )
    return tuple(
        replace(result, configurations={stage: result.configurations[stage]}, default=stage) for stage in chosen
    )
