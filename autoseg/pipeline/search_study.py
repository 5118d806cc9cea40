"""The store of a search: which knobs come next, and which training is worth a longer one (optuna: Akiba et al. 2019).

One process or several work on one store, a file of lines. What a process that is gone left unfinished is taken up by
the next one under the same name: its trainings are found again.
"""

from __future__ import annotations

import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.seeds import generator
from ..errors import MissingPackageError
from .search_knobs import as_planned, choices

ETA = 3  # of three trainings of one length, one goes on to the next, which is three times as long
RUNGS = (1, ETA, ETA * ETA)
NAMED = "number"  # of a trial whose process is gone: that which its trainings are called by
FIRST = 8  # trials before the sampler learns from others (TPE: Bergstra et al. 2011)


def optuna_or_refuse() -> Any:
    """Raises MissingPackageError."""
    try:
        import optuna
    except ImportError:
        raise MissingPackageError('`autoseg search` needs optuna: pip install "autoseg[search]"') from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


@dataclass(frozen=True)
class Asked:
    """One trial, while it is held by this process."""

    trial: Any
    number: int
    """By which its trainings are called."""
    knobs: dict[str, Any]


class Study:
    """Mutable only in its file."""

    def __init__(self, path: Path, networks: tuple[str, ...], seed: int) -> None:
        """Opens the store, or makes it with the planner's own plan as its first trial. Every process draws others."""
        optuna = optuna_or_refuse()
        storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
        self._states, self._locks, self._networks = optuna.trial.TrialState, path.parent / "trials", networks
        drawn = int(generator(seed, "search", socket.gethostname(), os.getpid()).integers(2**31))
        with warnings.catch_warnings():  # optuna 4 calls experimental what optuna 5 has as it is
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(seed=drawn, n_startup_trials=FIRST, constant_liar=True)
        self._study = optuna.create_study(
            storage=storage,
            sampler=sampler,
            pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=ETA),
            direction="maximize",
            study_name="search",
            load_if_exists=True,
        )
        if not self._study.trials:
            self._study.enqueue_trial(as_planned(networks), skip_if_exists=True)

    @contextmanager
    def asked(self) -> Iterator[Asked]:
        """The next trial, held until the block ends. Unless its outcome was told by then, it is taken up again."""
        from filelock import FileLock, Timeout

        self._take_up(FileLock, Timeout)
        trial = self._study.ask()
        self._locks.mkdir(parents=True, exist_ok=True)
        with FileLock(str(self._locks / f"{trial.number}.lock")):
            knobs = {
                name: trial.suggest_categorical(name, [*values]) for name, values in choices(self._networks).items()
            }
            yield Asked(trial, int(trial.user_attrs.get(NAMED, trial.number)), knobs)

    def _take_up(self, lock: Any, timeout: Any) -> None:
        """Trials of processes that are gone are asked for again."""
        for left in self._study.get_trials(deepcopy=False, states=(self._states.RUNNING,)):
            if len(left.params) < len(choices(self._networks)):
                continue  # it has only just been asked for
            try:
                with lock(str(self._locks / f"{left.number}.lock"), timeout=0):
                    if self._study.get_trials(deepcopy=False)[left.number].state != self._states.RUNNING:
                        continue  # another process was quicker
                    named = {NAMED: left.user_attrs.get(NAMED, left.number)}
                    self._study.tell(left.number, state=self._states.FAIL)
                    self._study.enqueue_trial(left.params, user_attrs=named)
            except timeout:
                continue  # somebody is at it

    def goes_on(self, asked: Asked, rung: int, dice: float) -> bool:
        """Notes the Dice of a training of so many shortest lengths; whether a longer one is worth it."""
        asked.trial.report(dice, rung)
        return rung != RUNGS[-1] and not asked.trial.should_prune()

    def tell(self, asked: Asked, dice: float | None, finished: bool) -> None:
        """How the trial ended: its last Dice; None where it failed."""
        if dice is None:
            self._study.tell(asked.trial, state=self._states.FAIL)
        elif finished:
            self._study.tell(asked.trial, dice)
        else:
            self._study.tell(asked.trial, state=self._states.PRUNED)
