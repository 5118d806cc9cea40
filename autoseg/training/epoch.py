"""What is measured and told at the end of every epoch."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from math import nan
from statistics import fmean

from ..core.process import peak_memory_bytes
from ..core.progress import clock_time, duration, told
from ..settings import Resolved
from ..task import Task
from .batches import PatchSampler
from .budget import Budget
from .early_stopping import ValidationMonitor, look
from .log import MetricsTable
from .online import online_dice
from .state import TrainingState

LOG = logging.getLogger("autoseg")
FIRST_LOOK = 10  # iterations after which the time left is told for the first time
ITERATIONS_PER_LOOK = 25  # one validation batch for so many training batches of an epoch
DICE_MEMORY = 0.9  # of the moving average of the online Dice, as nnU-Net v2 2.8.1


@dataclass
class Epoch:
    """Mutable: the time spent since the last epoch ended, and all that is needed to report one."""

    task: Task
    validation: PatchSampler | None
    budget: Budget
    resolved: Resolved
    table: MetricsTable
    monitor: ValidationMonitor | None = None
    is_main: bool = True
    """Whether this process looks, writes and tells; if not, it only counts."""
    iterations: int = 0
    seconds_waiting: float = 0.0
    paced: bool = False
    """Whether the pace of this training has been told."""
    pace_before: float = 0.0
    began: float = field(default_factory=time.monotonic)

    @property
    def pace(self) -> float:
        """Seconds per iteration, in this epoch or, before its first one, in the last; 0 before anything was done."""
        return (time.monotonic() - self.began) / self.iterations if self.iterations else self.pace_before

    def count(self, state: TrainingState, seconds_waiting: float) -> None:
        """One more iteration, of which so many seconds were spent waiting for the batch."""
        self.iterations += 1
        self.seconds_waiting += seconds_waiting
        if self.iterations == FIRST_LOOK and not self.paced:
            self.paced = True
            left = self.budget.seconds_left(state, self.pace)
            LOG.info(
                "%.2f s per iteration, about %s to go: training ends at about %s",
                self.pace,
                duration(left),
                clock_time(left),
                extra=told("training", state.iteration, self.budget.iterations, left),
            )

    def end(self, state: TrainingState) -> None:
        """Looks at the validation cases, adds a row to the table, logs a line, and begins the next epoch."""
        pace = self.pace
        if self.is_main:
            self._report(state, time.monotonic() - self.began, pace)
        state.losses, self.pace_before = [], pace
        self.iterations, self.seconds_waiting, self.began = 0, 0.0, time.monotonic()

    def _report(self, state: TrainingState, seconds: float, pace: float) -> None:
        rules = self.task.configuration.training
        dice = self._look(state)
        whole = look(state, rules, self.monitor) if self.monitor and rules.patience else None
        row = {
            "epoch": float(-(-state.iteration // rules.iterations_per_epoch)),
            "iteration": float(state.iteration),
            "seconds_trained": state.seconds_trained,
            "loss": fmean(state.losses) if state.losses else nan,
            "learning_rate": state.optimizer.param_groups[0]["lr"],
            "seconds_per_iteration": pace,
            "share_waiting_for_data": self.seconds_waiting / seconds,
            "memory": _peak_memory(self.resolved),
            "dice": fmean(dice.values()) if dice else nan,
        }
        names = {f"dice_{name}": dice.get(name, nan) for name in self.task.labels.foreground}
        volumes = {"dice_volumes": nan if whole is None else whole} if self.monitor and rules.patience else {}
        self.table.add(row | (names if self.validation else {}) | volumes)
        left = self.budget.seconds_left(state, pace)
        shown = row | {"dice_volumes": nan if whole is None else whole}
        LOG.info(
            "%s, %s left",
            _line(shown),
            duration(left),
            extra=told("training", state.iteration, self.budget.iterations, left, **(row | names | volumes)),
        )

    def _look(self, state: TrainingState) -> dict[str, float]:
        if self.validation is None:
            return {}
        batches = max(1, self.task.configuration.training.iterations_per_epoch // ITERATIONS_PER_LOOK)
        parts = min(state.parts, self.task.configuration.batch_size)
        dice = online_dice(state.result, self.validation, batches, self.task.labels, self.resolved, parts)
        if dice:
            mean, before = fmean(dice.values()), state.smooth_dice
            state.smooth_dice = mean if before is None else DICE_MEMORY * before + (1 - DICE_MEMORY) * mean
            state.best_dice = max(state.smooth_dice, state.best_dice or 0.0)
        return dice


def _peak_memory(resolved: Resolved) -> float:
    """Bytes, the most so far: on an NVIDIA GPU what torch reserved of its memory, else main memory of this process."""
    if resolved.device.type == "cuda":
        import torch

        return float(torch.cuda.max_memory_reserved(resolved.device))
    peak = peak_memory_bytes()
    return nan if peak is None else float(peak)


def _line(row: dict[str, float]) -> str:
    """What fits a line of a terminal; ``metrics.csv`` has all."""
    seen = {"patches": row["dice"], "cases": row["dice_volumes"]}
    dice = ", ".join(f"{what} {value:.3f}" for what, value in seen.items() if value == value)
    waited = f"{row['share_waiting_for_data']:.0%} waiting for data".replace("%", " %")
    return f"epoch {row['epoch']:.0f}: loss {row['loss']:.3f}" + (f", Dice: {dice}" if dice else "") + f", {waited}"
