"""What a training says before it begins and when it has ended: how long, where, what follows, what to do next."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..core.names import counted
from ..core.progress import duration
from ..inference.tiles import Shape, tiles
from ..settings import RunSettings, resolve
from ..task import Task
from ..workspace import DatasetFolder
from .status import runs_of

if TYPE_CHECKING:
    from ..run_folder import RunFolder
    from ..training.budget import Budget
    from .train_fold import FoldRun

LOG = logging.getLogger("autoseg")
PASSES = 3.0  # a step costs about three forward passes: one forward, and a backward pass of twice its cost
MOST_EARLIER = 3  # trainings whose Dice is told
OTHER_LENGTH = 4.0  # from this ratio on, the planner would have chosen another network, patch or batch


def begun(run: FoldRun, budget: Budget, validated: Iterable[Shape]) -> None:
    """Before the first iteration; ``validated`` are the (z, y, x) of the validation cases on the network's grid."""
    task, rules = run.task, run.task.configuration
    patch = " x ".join(map(str, rules.patch_size))
    length = f"{budget.iterations} iterations" if budget.iterations else duration(budget.seconds or 0)
    LOG.info(
        "training %s on %s: patch %s, batch %d, %s, on %s",
        run.name,
        counted(len(run.split.train), "case"),
        patch,
        rules.batch_size,
        length,
        machine(run.settings),
    )
    LOG.info("weights, log.txt and metrics.csv are written to %s", run.folder.root)
    if count := len(run.split.validation):
        seconds = seconds_of_validation(task, validated)
        about = "" if seconds is None else f", about {duration(seconds)}"
        LOG.info("validation follows, on %s%s", counted(count, "case"), about)
    _tell_other_length(run, budget)
    if earlier := reached_before(run.files, run.folder):
        LOG.info("earlier trainings of %s reached, on their validation cases, %s", run.plan.dataset, earlier)


def reached_before(files: DatasetFolder, folder: RunFolder) -> str:
    """The Dice of other trainings of the dataset than that in ``folder``, best first; nothing where there is none."""
    others = [
        line for line in runs_of(files) if (line.configuration, line.fold) != (folder.root.parent.name, folder.fold)
    ]
    scored = sorted(((line.dice or 0.0, line) for line in others if line.validated), key=lambda each: -each[0])
    named = [f"Dice {dice:.3f} ({line.configuration} fold {line.fold})" for dice, line in scored]
    return ", ".join(named[:MOST_EARLIER]) + (", ..." if len(named) > MOST_EARLIER else "")


def ended(run: FoldRun) -> None:
    """Once weights and scores are written."""
    LOG.info("%s: weights are in %s", run.name, run.folder.weights)


def tell_next(dataset: str, fold: str) -> None:
    """What a user may do once all that was asked for is trained."""
    also = {"cv": f"`autoseg select {dataset}` compares models and what improves them", "all": ""}
    others = also.get(fold, f"`autoseg train {dataset} cv` trains the other folds")
    predict = f"`autoseg predict -d {dataset} -i IMAGES -o RESULTS` segments new images"
    LOG.info("next: %s", "; ".join(filter(None, (predict, others))))


def machine(settings: RunSettings) -> str:
    """``cpu (2 threads, float32)``."""
    resolved = resolve(settings)
    precision = str(resolved.dtype or "float32").removeprefix("torch.")
    threads = f"{settings.threads} thread{'s' * (settings.threads > 1)}, " if resolved.device.type == "cpu" else ""
    return f"{resolved.device} ({threads}{precision})"


def seconds_of_validation(task: Task, shapes: Iterable[Shape]) -> float | None:
    """About how long whole images of ``shapes`` take, with mirroring, by the step that planning has timed.

    None where none was timed. An estimate: in float32, and on a processor, prediction may be faster.
    """
    configuration = task.configuration
    cost, patch = configuration.cost, configuration.patch_size
    if cost is None or not cost.timed:
        return None
    depth, height, width = (1, *patch) if len(patch) == 2 else patch
    window = (depth, height, width)
    padded = [(max(z, depth), max(y, height), max(x, width)) for z, y, x in shapes]
    patches = sum(len(tiles(shape, window)) for shape in padded)
    return cost.seconds / PASSES / configuration.batch_size * patches * 2 ** len(task.mirrored)


def _tell_other_length(run: FoldRun, budget: Budget) -> None:
    """A plan is for a length: with far more time another network would learn more, with far less none of this size."""
    configuration = run.task.configuration
    cost, rules = configuration.cost, configuration.training
    if cost is None or not cost.timed or budget.seconds is None:
        return
    planned = rules.epochs * rules.iterations_per_epoch * cost.seconds
    if not planned / OTHER_LENGTH <= budget.seconds <= planned * OTHER_LENGTH:
        LOG.warning(
            "%s was planned for trainings of about %s, not %s; `autoseg plan %s --time %s` plans anew",
            run.task.name,
            duration(planned),
            duration(budget.seconds),
            run.plan.dataset,
            f"{budget.seconds:.0f}s",
        )
