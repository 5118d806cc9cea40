"""One training: whether it may go on, on which cases, until its weights are written."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass, replace

from ..core.progress import duration
from ..core.records import write_json
from ..errors import TrainingError, WorkspaceError
from ..folds import Fold
from ..plan import Configuration, Plan, read_plan
from ..preprocessing.store import CaseStore, StoredCase
from ..settings import RunSettings
from ..training.batches import training_sampler, validation_sampler
from ..training.budget import Budget
from ..training.fit import CHECKPOINT_SECONDS, fit
from ..training.state import resume, save_weights, start
from ..workspace import DatasetFolder, RunFolder
from .plan_and_preprocess import preparation_keys, prepared_as

LOG = logging.getLogger("autoseg")


@dataclass(frozen=True)
class FoldRun:
    """One fold of one configuration: what is trained, on what, where."""

    files: DatasetFolder
    plan: Plan
    """With the one configuration that is trained, after every change."""
    fold: str
    """A number or ``all``."""
    split: Fold
    settings: RunSettings
    trusted: tuple[str, ...] = ()

    @property
    def folder(self) -> RunFolder:
        return self.files.run(self.plan.default, self.fold)

    @property
    def configuration(self) -> Configuration:
        return self.plan.configuration()[1]

    @property
    def name(self) -> str:
        return f"{self.plan.default} fold_{self.fold}"


def train_fold(run: FoldRun, *, seconds: float | None = None, checkpoint_every: float = CHECKPOINT_SECONDS) -> None:
    """Trains until the budget is spent and writes the weights; a fold that has finished is left alone.

    ``seconds`` None trains the epochs of the plan. Raises TrainingError or WorkspaceError.
    """
    folder, plan, configuration, split, settings = run.folder, run.plan, run.configuration, run.split, run.settings
    if folder.weights.exists():
        LOG.info("%s has finished; to train it anew, remove %s", run.name, folder.root)
        return
    _refuse_another_plan(run)
    shutil.rmtree(folder.validation, ignore_errors=True)  # of an earlier training that was removed
    cases = _prepared(run)
    state = start(plan, configuration, settings)
    if resume(state, folder.checkpoints):
        LOG.info("continuing after iteration %d (%s)", state.iteration, duration(state.seconds_trained))
    write_json(folder.effective, plan)
    budget = Budget.of(configuration, seconds)
    _announce(run, budget)
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
        folder=folder,
        checkpoint_seconds=checkpoint_every,
    )
    save_weights(folder.weights, state.network)


def _announce(run: FoldRun, budget: Budget) -> None:
    patch = " x ".join(map(str, run.configuration.patch_size))
    length = f"{budget.iterations} iterations" if budget.iterations else duration(budget.seconds or 0)
    LOG.info(
        "training %s on %d cases: patch %s, batch %d, %s",
        run.name,
        len(run.split.train),
        patch,
        run.configuration.batch_size,
        length,
    )


def _refuse_another_plan(run: FoldRun) -> None:
    """A started run goes on with the decisions it started with; only its length may change."""
    folder, plan = run.folder, run.plan
    if not any(folder.checkpoints.glob("*.pt")):
        return
    before = read_plan(folder.effective, run.trusted)
    (_, old), (name, new) = before.configuration(), plan.configuration()
    rules = replace(old.training, epochs=new.training.epochs)
    old = replace(old, training=rules, reasons=new.reasons)
    if replace(before, configurations={name: old}, reasons=plan.reasons) != plan:
        raise TrainingError(
            f"{folder.root} was started with another plan than {plan.dataset} has now. "
            f"Take back the change in plan.json or --set, or remove {folder.root} to start anew"
        )


def _prepared(run: FoldRun) -> dict[str, StoredCase]:
    """Raises WorkspaceError naming a case that was not prepared, or was prepared for other decisions."""
    files, plan, split = run.files, run.plan, run.split
    store = CaseStore(files.prepared(prepared_as(files.read_plan(run.trusted), plan.default)))
    cases = {key: store.open(key) for key in (*split.train, *split.validation)}
    keys = preparation_keys(files.read_fingerprint(), plan, run.configuration)
    stale = [key for key, stored in cases.items() if stored.case.content != keys.get(key)]
    if stale:
        raise WorkspaceError(
            f"{len(stale)} cases, {stale[0]} among them, were prepared before plan.json or their files changed; "
            f"run `autoseg preprocess {plan.dataset}` again"
        )
    return cases
