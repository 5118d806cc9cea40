"""A few real training steps, on noise: how long they take and how much memory."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import repeat
from statistics import fmean

import numpy as np
import torch
from torch import Tensor, nn

from ..core.machine import give_back_unused
from ..core.mishaps import out_of_memory
from ..core.process import MemoryPeak, Stopwatch, keep_freed
from ..core.seeds import generator
from ..settings import Resolved, RunSettings, resolve
from ..task import Task
from .arithmetic import arithmetic
from .batches import Batch
from .prefetch import Prefetch
from .state import TrainingState, start
from .step import MIDWAY, Step

FEWEST, MOST = 2, 8  # steps that are timed, each augmented in a way of its own
SECONDS = 0.3  # within which more than the fewest are timed, if nothing else is going on
SECONDS_BESIDE_OTHERS = 2.0  # where other programs take processor time; of its steps the quicker half counts


@dataclass(frozen=True)
class TimedSteps:
    """What the steps showed."""

    seconds: float
    """Per step."""
    bytes: int | None
    """Taken at most; None where the system does not tell."""


def time_steps(task: Task, settings: RunSettings) -> TimedSteps | None:
    """Two steps or more, after one that warms up; None where memory does not suffice for a whole batch."""
    resolved = resolve(settings)
    try:
        with arithmetic(settings, resolved):
            return _steps(task, settings, resolved)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
    finally:
        give_back_unused(resolved.device)
    return None


def _steps(task: Task, settings: RunSettings, resolved: Resolved) -> TimedSteps | None:
    on_gpu = resolved.device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(resolved.device)
    nn.Conv2d(1, 1, 3)(torch.zeros(1, 1, 8, 8)).sum().backward()  # what libraries load at their first use is no step's
    keep_freed()  # as a training does
    peak = MemoryPeak()
    state, batch = start(task, settings), made_up_batch(task)
    step = Step.of(task, resolved, settings.seed, state.network)
    prefetch = Prefetch(repeat(batch), step.augmented, 0, resolved.device)
    step(state, prefetch.take(), MIDWAY, prefetch.prepare)
    seconds = _timed(step, state, prefetch, settings) if state.parts == 1 else []
    if state.parts > 1:
        return None
    taken = torch.cuda.max_memory_reserved(resolved.device) if on_gpu else peak.bytes()
    return TimedSteps(fmean(seconds), taken)


def _timed(step: Step, state: TrainingState, prefetch: Prefetch, settings: RunSettings) -> list[float]:
    """Seconds of some steps."""
    watch, seconds = Stopwatch(settings.threads), list[float]()
    while len(seconds) < FEWEST or (
        len(seconds) < MOST and watch.elapsed() < (SECONDS_BESIDE_OTHERS if watch.disturbed() else SECONDS)
    ):
        seconds.append(_seconds(step, state, prefetch, settings))
    return sorted(seconds)[: max(FEWEST, len(seconds) // 2)] if watch.disturbed() else seconds


def _seconds(step: Step, state: TrainingState, prefetch: Prefetch, settings: RunSettings) -> float:
    watch = Stopwatch(settings.threads)
    step(state, prefetch.take(), MIDWAY, prefetch.prepare)
    if step.resolved.device.type == "cuda":
        torch.cuda.synchronize(step.resolved.device)
        return watch.elapsed()
    return watch.seconds()


def made_up_batch(task: Task) -> Batch:
    """Patches of noise as a loader would give them, with every label in each."""
    configuration, inputs = task.configuration, task.inputs
    shape = (configuration.batch_size, *configuration.augmentation.loaded_shape(configuration.patch_size))
    random = generator(0, "made-up batch")
    images = random.standard_normal((shape[0], inputs.image.read, *shape[1:]), np.float32).astype(np.float16)
    labels = len(task.labels.values)

    def indices(*read: int) -> tuple[Tensor, ...]:
        found = random.integers(0, labels, (shape[0], *read, *shape[1:]))
        return tuple(torch.from_numpy(found.astype(np.uint8 if labels < 256 else np.int32)))

    def numbers(read: int) -> tuple[Tensor, ...]:
        return tuple(torch.from_numpy(random.random((shape[0], read, *shape[1:]), np.float32)))

    targets = indices()
    extras = tuple(indices(group.read) if group.whole_numbers else numbers(group.read) for group in inputs.extras)
    return Batch(tuple(torch.from_numpy(images)), targets, ("noise",) * shape[0], extras)
