"""A training of cases in memory, which may be asked to end on its way."""

from __future__ import annotations

import os
import signal
from typing import Any

from run_settings import SETTINGS

from autoseg.plan import Plan
from autoseg.run_folder import RunFolder
from autoseg.training.batches import training_sampler
from autoseg.training.budget import Budget
from autoseg.training.cases import CaseInMemory
from autoseg.training.fit import Course, fit
from autoseg.training.state import TrainingState, resume, start


def train(
    plan: Plan, folder: RunFolder, iterations: int, given: dict[str, CaseInMemory], stop: int = 0
) -> TrainingState:
    """Goes on in ``folder`` until so many iterations; a signal asks it to end after ``stop`` of them."""
    task = plan.task()
    state = start(task, SETTINGS)
    resume(state, folder.checkpoints)
    sampler = training_sampler(given, sorted(given), task, SETTINGS.seed)
    if stop:
        update = state.optimizer.step

        def step(*words: Any, **named: Any) -> Any:
            if state.iteration == stop:
                os.kill(os.getpid(), signal.SIGTERM)
            return update(*words, **named)

        state.optimizer.step = step  # type: ignore[method-assign]
    fit(state, task, sampler, None, course=Course(Budget(iterations)), settings=SETTINGS, folder=folder)
    return state
