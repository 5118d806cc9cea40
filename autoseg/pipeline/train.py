"""From prepared cases to a scored model: trains a fold, then predicts and scores its validation cases whole."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..changes import changed
from ..core.progress import duration
from ..core.records import write_json
from ..dataset import Dataset
from ..errors import TrainingError, UsageError, WorkspaceError
from ..evaluation.scores import table
from ..folds import Fold
from ..inference.model import Model
from ..plan import Plan, read_plan
from ..preprocessing.store import CaseStore, StoredCase
from ..settings import RunSettings
from ..training.batches import training_sampler, validation_sampler
from ..training.budget import Budget
from ..training.fit import CHECKPOINT_SECONDS, fit
from ..training.log import written_to
from ..training.state import resume, save_weights, start
from ..workspace import DatasetFolder, RunFolder
from .evaluate import score_pairs
from .plan_and_preprocess import preparation_keys
from .predict import predict

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
        run = files.run(plan.default, name)
        with written_to(run.log):
            _train_fold(files, run, plan, split, seconds, checkpoint_every, settings, trusted)
            _validate(dataset, run, split, settings, trusted)
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


def _train_fold(
    files: DatasetFolder,
    run: RunFolder,
    plan: Plan,
    split: Fold,
    seconds: float | None,
    checkpoint_every: float,
    settings: RunSettings,
    trusted: tuple[str, ...],
) -> None:
    name, configuration = plan.configuration()
    if run.weights.exists():
        LOG.info("%s %s has finished; to train it anew, remove %s", name, run.root.name, run.root)
        return
    _refuse_another_plan(run, plan, trusted)
    shutil.rmtree(run.validation, ignore_errors=True)  # of an earlier training that was removed
    cases = _prepared(files, plan, split)
    state = start(plan, configuration, settings)
    if resume(state, run.checkpoints):
        LOG.info("continuing after iteration %d (%s)", state.iteration, duration(state.seconds_trained))
    write_json(run.effective, plan)
    budget = Budget.of(configuration, seconds)
    patch = " x ".join(map(str, configuration.patch_size))
    LOG.info(
        "training %s %s on %d cases: patch %s, batch %d, %s",
        name,
        run.root.name,
        len(split.train),
        patch,
        configuration.batch_size,
        _length(budget),
    )
    sampled = training_sampler(cases, split.train, plan, configuration, settings.seed)
    watched = validation_sampler(cases, split.validation, plan, configuration, settings.seed)
    fit(
        state,
        plan,
        configuration,
        sampled,
        watched if split.validation else None,
        budget=budget,
        settings=settings,
        folder=run,
        checkpoint_seconds=checkpoint_every,
    )
    save_weights(run.weights, state.network)


def _refuse_another_plan(run: RunFolder, plan: Plan, trusted: tuple[str, ...]) -> None:
    """A started run goes on with the decisions it started with; only its length may change."""
    if not any(run.checkpoints.glob("*.pt")):
        return
    before = read_plan(run.effective, trusted)
    (_, old), (name, new) = before.configuration(), plan.configuration()
    old = replace(old, training=new.training, reasons=new.reasons)
    if replace(before, configurations={name: old}, reasons=plan.reasons) != plan:
        raise TrainingError(
            f"{run.root} was started with another plan than {plan.dataset} has now. "
            f"Take back the change in plan.json or --set, or remove {run.root} to start anew"
        )


def _prepared(files: DatasetFolder, plan: Plan, split: Fold) -> dict[str, StoredCase]:
    """Raises WorkspaceError naming a case that was not prepared, or was prepared for other decisions."""
    name, configuration = plan.configuration()
    store = CaseStore(files.prepared(name))
    cases = {key: store.open(key) for key in (*split.train, *split.validation)}
    keys = preparation_keys(files.read_fingerprint(), plan, configuration)
    stale = [key for key, stored in cases.items() if stored.case.content != keys.get(key)]
    if stale:
        raise WorkspaceError(
            f"{len(stale)} cases, {stale[0]} among them, were prepared before plan.json or their files changed; "
            f"run `autoseg preprocess {plan.dataset}` again"
        )
    return cases


def _length(budget: Budget) -> str:
    return f"{budget.iterations} iterations" if budget.iterations else duration(budget.seconds or 0)


def _validate(dataset: Dataset, run: RunFolder, split: Fold, settings: RunSettings, trusted: tuple[str, ...]) -> None:
    """Predicts the validation cases from their files, as a user would, and scores them against theirs."""
    if not split.validation:
        LOG.info("fold all has no validation cases: score it on cases of your own with `autoseg evaluate`")
        return
    if run.scores.exists():
        LOG.info("validation scores are in %s", run.scores)
        return
    model = Model.read(run.root, settings=settings, trusted=trusted)
    cases = [dataset.case(key) for key in split.validation]
    report = predict(model, cases, run.validation, overwrite=False)
    if report.failed:
        raise TrainingError(f"{len(report.failed)} validation cases could not be predicted; the messages above say why")
    pairs = {case.key: (case.files[-1], run.validation / f"{case.key}{model.plan.file_ending}") for case in cases}
    summary = score_pairs(pairs, dataset.labels, run.validation, workers=settings.threads)
    LOG.info("validation of %s, %d cases:\n%s", run.root.name, len(cases), table(summary))
