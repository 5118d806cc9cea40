"""When more training no longer helps: seen on a few whole validation cases, every few epochs."""

from __future__ import annotations

from collections.abc import Callable
from math import isnan

from torch import nn

from ..configuration import TrainingRules
from .state import TrainingState

ValidationMonitor = Callable[[nn.Module], float]
"""Mean Dice of a network on a few whole validation cases; NaN when they hold no foreground."""

LOOKS = 5  # within the plan's patience
GAIN = 0.001  # in Dice: less than this over the best one so far is no gain


def look(state: TrainingState, rules: TrainingRules, monitor: ValidationMonitor) -> float | None:
    """The Dice at the end of this epoch, noted in ``state``; None when no look is due."""
    epoch = state.iteration // rules.iterations_per_epoch
    if epoch % max(1, rules.patience // LOOKS):
        return None
    dice = monitor(state.result)
    if isnan(dice):
        return None
    if state.volumes_dice is None or dice > state.volumes_dice + GAIN:
        state.volumes_dice, state.volumes_iteration = dice, state.iteration
    return dice


def on_plateau(state: TrainingState, rules: TrainingRules) -> bool:
    """Whether the last gain lies ``patience`` epochs back. A network that has learnt nothing yet is on none."""
    waited = state.iteration - state.volumes_iteration
    return bool(rules.patience and state.volumes_dice) and waited >= rules.patience * rules.iterations_per_epoch
