"""One training step on noise: a state, the step and a batch for it, and what torch allocates meanwhile."""

from __future__ import annotations

import numpy as np
import torch
from tasks import task_of
from torch.profiler import ProfilerActivity, profile

from autoseg.configuration import Configuration, StepMemory
from autoseg.plan import Plan
from autoseg.settings import RunSettings, resolve
from autoseg.training.batches import Batch
from autoseg.training.state import TrainingState, start
from autoseg.training.step import Step

THREADS = 2


def begun(plan: Plan, precision: str) -> tuple[Configuration, TrainingState, Step, Batch]:
    """A training and a batch for it."""
    settings = RunSettings(device="cpu", precision=precision, threads=THREADS)
    torch.set_num_threads(THREADS)
    _, configuration = plan.configuration()
    state = start(task_of(plan, configuration), settings)
    shape = (configuration.batch_size, *configuration.patch_size)
    random = np.random.default_rng(0)
    images = random.standard_normal((shape[0], len(plan.channels), *shape[1:])).astype(np.float16)
    targets = random.integers(0, 2, shape).astype(np.uint8)
    batch = Batch(torch.from_numpy(images), torch.from_numpy(targets), ("case",) * shape[0])
    return configuration, state, Step.of(task_of(plan, configuration), resolve(settings), 0, state.network), batch


def allocated(state: TrainingState, step: Step, batch: Batch, counted: StepMemory) -> int:
    """The most bytes asked of torch's allocator during the second step, those of oneDNN included, which go through it.

    What is there before the step begins, weights, the optimizer's state and batches, is taken from ``counted``.
    """
    step(state, step.augmented(batch, 0), 0.0)
    state.optimizer.zero_grad(set_to_none=True)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        step(state, step.augmented(batch, 0), 0.0)
    assert profiled.profiler is not None
    events = [event for event in profiled.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = most = counted.weights + counted.optimizer + 3 * (batch.images.nbytes + batch.targets.nbytes)
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most
