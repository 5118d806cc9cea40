"""How long a training is, and at which learning rate, beside nnU-Net's for the same dataset."""

from __future__ import annotations

import math
from dataclasses import replace

from ..configuration import Configuration, TrainingRules
from ..parts.contracts import Optimizer


def full_training(configuration: Configuration, reference: Configuration) -> int:
    """Iterations in which as many voxels are seen, in patches, as in the training of ``reference``.

    Twice the batch therefore takes half the iterations, and a machine that is twice as quick half the time.
    """
    rules = reference.training
    return math.ceil(rules.epochs * rules.iterations_per_epoch * _voxels(reference) / _voxels(configuration))


def at_least(rules: TrainingRules, iterations: int) -> TrainingRules:
    """So many iterations, in whole epochs."""
    return replace(rules, epochs=max(1, math.ceil(iterations / rules.iterations_per_epoch)))


def at_most(rules: TrainingRules, iterations: int) -> TrainingRules:
    """So many iterations, in epochs of a number with two digits: no plan changes for a millisecond."""
    epochs = max(1, iterations // rules.iterations_per_epoch)
    step = 10 ** max(0, len(str(epochs)) - 2)
    return replace(rules, epochs=epochs // step * step)


def rated(optimizer: Optimizer, batch: int, reference: int) -> tuple[Optimizer, str | None]:
    """``optimizer`` with the learning rate for ``batch`` patches, and why it is another than for ``reference`` patches.

    A larger batch takes larger steps, by the square root of how many times larger it is: a step is then as noisy as
    before (Krizhevsky 2014, arXiv:1404.5997; for adaptive optimizers Malladi et al. 2022, arXiv:2205.10287). A smaller
    one keeps the rate: it is planned where there is little time, which slower steps would waste.
    """
    if batch <= reference:
        return optimizer, None
    rate = float(f"{optimizer.learning_rate * math.sqrt(batch / reference):.3g}")
    why = (
        f"learning rate: {rate:g}, the recipe's {optimizer.learning_rate:g} times the square root of "
        f"{batch}/{reference}, as the batch is larger than nnU-Net's"
    )
    return replace(optimizer, learning_rate=rate), why


def _voxels(configuration: Configuration) -> int:
    """Of one batch."""
    return configuration.batch_size * math.prod(configuration.patch_size)
