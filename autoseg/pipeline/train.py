"""From prepared cases to scored models: trains folds, and predicts and scores the validation cases of each whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..changes import changed
from ..errors import UsageError
from ..folds import Fold
from ..plan import Plan
from ..settings import RunSettings
from ..training.fit import CHECKPOINT_SECONDS
from ..training.log import written_to
from ..workspace import DatasetFolder
from .plan_and_preprocess import preparation_keys
from .train_fold import FoldRun, train_fold
from .validate_fold import validate_fold


def train(
    files: DatasetFolder,
    fold: str,
    *,
    configuration: str | None = None,
    epochs: int | None = None,
    seconds: float | None = None,
    changes: Sequence[str] = (),
    checkpoint_every: float = CHECKPOINT_SECONDS,
    settings: RunSettings | None = None,
    trusted: tuple[str, ...] = (),
) -> Path:
    """Trains ``fold`` (``0``-``4``, ``all``, or ``cv`` for all folds in turn) and returns the model's folder.

    A run that was stopped goes on from its last checkpoint; one that has finished is not trained again. ``epochs`` or
    ``seconds`` replace the plan's length, ``changes`` any of its values (``autoseg.changes``). Raises TrainingError,
    UsageError or WorkspaceError.
    """
    settings = settings or RunSettings()
    plan = _effective(files, configuration, epochs, changes, trusted)
    dataset, folds = files.read_dataset(), files.read_folds()
    names = [str(number) for number in range(len(folds.folds))] if fold == "cv" else [fold]
    for name in names:
        if name != "all" and not name.isdecimal():
            raise UsageError(f"fold {name!r} is unknown; give a number, `all` or `cv`")
        split = Fold(dataset.keys, ()) if name == "all" else folds[int(name)]
        run = FoldRun(files, plan, name, split, settings, trusted)
        with written_to(run.folder.log):
            train_fold(run, seconds=seconds, checkpoint_every=checkpoint_every)
            validate_fold(run, dataset)
    return files.runs(plan.default)


def _effective(
    files: DatasetFolder,
    configuration: str | None,
    epochs: int | None,
    changes: Sequence[str],
    trusted: tuple[str, ...],
) -> Plan:
    """The plan with the one configuration that is trained, its number of epochs, and the user's changes.

    Raises UsageError for a change that comes too late: cases are prepared already.
    """
    plan, measured = files.read_plan(trusted), files.read_fingerprint()
    name, chosen = plan.configuration(configuration)
    if chosen.previous is not None:
        raise UsageError(f"{name} cannot be trained yet; train {chosen.previous} or another configuration")
    if epochs is not None:
        chosen = replace(chosen, training=replace(chosen.training, epochs=epochs))
    plan = replace(plan, configurations={name: chosen}, default=name)
    result = changed(plan, changes, trusted)
    if preparation_keys(measured, result, result.configurations[name]) != preparation_keys(measured, plan, chosen):
        flags = " ".join(f"--set {change}" for change in changes)
        raise UsageError(
            f"{flags}: this decides how cases are prepared, which comes before training. "
            f"Run `autoseg plan {plan.dataset} {flags}` and `autoseg preprocess {plan.dataset}` first"
        )
    return result
