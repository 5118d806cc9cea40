"""What a training costs and what limited it, in a person's words: ``subject: sentence with numbers``."""

from __future__ import annotations

from ..configuration import Configuration, StepCost, TrainingRules
from ..core.amounts import bytes_text
from ..core.progress import duration
from .constraints import PlanConstraints
from .target import Target

LIMITS = {
    "memory": "the memory limits patch and batch",
    "time": "the time limits patch and batch: with more (--time) they would be larger",
    "data": "patch and batch are all that the data and this planner ask for: more memory or time would not change it",
}


def draft(dataset: str, network: str | None) -> str:
    size = "network" if network is None else f"the size of the network ({network}, as you asked)"
    return (
        f"draft: {size}, patch and batch are chosen when you run `autoseg train {dataset} 0`, by measuring the machine "
        f"that trains; `autoseg plan {dataset}` chooses them now"
    )


def target(target: Target, memory: int, seconds: float | None, asked: PlanConstraints) -> str:
    """``memory`` in bytes and ``seconds`` are what one training may take."""
    by_hand = ", as you asked"
    much = f"{bytes_text(memory)} of memory{by_hand if asked.memory else ''}"
    long = "as long as its network needs" if seconds is None else duration(seconds)
    return f"target: {target.name}: one training may take {much}, and {long}{by_hand if asked.seconds else ''}"


def memory(cost: StepCost, limit: str) -> str:
    counted = cost.counted
    seen = "" if cost.memory_measured is None else f"; with real steps it took {bytes_text(cost.memory_measured)}"
    return (
        f"memory: {bytes_text(cost.memory)} of {bytes_text(cost.allowed)} ({cost.memory / cost.allowed:.0%}): a step "
        f"holds {bytes_text(counted.peak)} at most, of which activations are {bytes_text(counted.activations)} and "
        f"weights {bytes_text(counted.weights)}, the rest is libraries and gaps{seen}; {LIMITS[limit]}"
    )


def time(cost: StepCost) -> str:
    how = "real steps were timed" if cost.timed else "reckoned from the bandwidth of its memory"
    return f"time: {cost.seconds:.2g} s per step, {how}"


def training(rules: TrainingRules, configuration: Configuration, cases: int, cost: StepCost, limit: str) -> str:
    iterations = rules.epochs * rules.iterations_per_epoch
    seen = iterations * configuration.batch_size / cases
    return (
        f"training: {rules.epochs} epochs of {rules.iterations_per_epoch} iterations, {limit}: about "
        f"{duration(iterations * cost.seconds)}, {seen:.0f} patches of each of {cases} cases"
    )
