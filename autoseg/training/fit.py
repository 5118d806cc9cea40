"""The training loop."""

from __future__ import annotations

import logging
import time
from contextlib import closing

import torch

from ..errors import TrainingError
from ..plan import Configuration, Plan
from ..settings import RunSettings, resolve
from ..workspace import RunFolder
from .batches import Batch, PatchSampler, batches
from .budget import Budget
from .epoch import Epoch
from .interrupt import interruption
from .log import MetricsTable, advance, bar
from .state import TrainingState, save
from .step import Step

LOG = logging.getLogger("autoseg")
CHECKPOINT_SECONDS = 600.0
SKIPS_IN_A_ROW = 3  # that end a training


def fit(
    state: TrainingState,
    plan: Plan,
    configuration: Configuration,
    training: PatchSampler,
    validation: PatchSampler | None,
    *,
    budget: Budget,
    settings: RunSettings,
    folder: RunFolder,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> None:
    """Trains ``state`` until ``budget`` is spent; returns at once when it already is.

    Writes checkpoints and ``metrics.csv`` into ``folder``. With a budget of iterations, on a CPU, a training that
    was killed and resumed ends bit-identical to one that was not. Raises TrainingError when it was asked to stop,
    after saving, and when three steps in a row give no finite loss.
    """
    resolved = resolve(settings)
    torch.set_num_threads(settings.threads)
    step = Step.of(plan, configuration, resolved, settings.seed)
    table = MetricsTable.open(folder.metrics, state.iteration)
    epoch = Epoch(plan, configuration, validation, budget, resolved, table)
    readers = 1 if resolved.device.type == "cpu" else settings.threads  # a CPU's cores belong to the network
    origin, saved, skipped = time.monotonic() - state.seconds_trained, time.monotonic(), 0
    with (
        interruption() as asked,
        closing(batches(training, state.iteration, readers, ahead=2)) as source,
        bar(budget.progress(state)) as shown,
    ):
        while (progress := budget.progress(state)) < 1:
            began = time.monotonic()
            batch = next(source)
            waited = time.monotonic() - began
            loss = step(state, batch, configuration.schedule.factor(progress, state.iteration))
            skipped = _skipped(skipped, loss, batch, state)
            state.iteration += 1
            state.seconds_trained = time.monotonic() - origin
            epoch.count(state, waited)
            advance(shown, budget.progress(state), state.iteration, loss)
            if state.iteration % configuration.training.iterations_per_epoch == 0:
                epoch.end(state)
            if asked.is_set() or time.monotonic() - saved >= checkpoint_seconds:
                save(state, folder.checkpoints)
                saved = time.monotonic()
            if asked.is_set():
                raise TrainingError(f"stopped after iteration {state.iteration}; to go on, run the same command again")
    if epoch.iterations:
        epoch.end(state)
    save(state, folder.checkpoints)


def _skipped(before: int, loss: float | None, batch: Batch, state: TrainingState) -> int:
    """Notes the loss of a step; returns how many steps in a row, up to this one, were skipped."""
    if loss is not None:
        state.losses.append(loss)
        return 0
    cases = ", ".join(sorted(set(batch.keys)))
    LOG.warning("iteration %d skipped: loss or gradient is not finite; cases %s", state.iteration, cases)
    if before + 1 == SKIPS_IN_A_ROW:
        raise TrainingError(
            f"loss or gradient was not finite {SKIPS_IN_A_ROW} times in a row, last on the cases {cases}. "
            "Look for broken voxels there (`autoseg check`), lower optimizer.learning_rate, or use --precision float32"
        )
    return before + 1
