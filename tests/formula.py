"""Machines whose training steps cost what a formula says, and datasets of equal images to plan for on them.

Costs have bumps from patch to patch as real ones have. Hundreds of datasets are planned in seconds.
"""

from __future__ import annotations

import zlib

from autoseg.planners import measured

from autoseg.configuration import Configuration, StepMemory
from autoseg.core.labels import ExclusiveLabels
from autoseg.data.dataset import Case, Dataset
from autoseg.data.fingerprint import CaseFingerprint, Fingerprint, Intensities
from autoseg.plan import Plan
from autoseg.planning.constraints import NO_CONSTRAINTS, PlanConstraints
from autoseg.planning.memory import elements_of_step
from autoseg.planning.search import Bench
from autoseg.planning.target import Target
from autoseg.task import Task

BYTES_PER_ELEMENT = 5.5


class Formula:
    """A bench."""

    def __init__(self, target: Target) -> None:
        self.target = target

    def memory(self, task: Task) -> StepMemory:
        step = self._bump(task) * BYTES_PER_ELEMENT * elements_of_step(task)
        weights = 4 * sum(27 * count**2 for count in task.configuration.network.features)
        extra = 1.01 if task.configuration.previous else 1.0
        return StepMemory(weights, weights, 0, int(step), int(3 * weights + extra * step))

    def seconds(self, task: Task) -> tuple[float, int | None]:
        assert self.target.speed is not None
        return self._bump(task) * elements_of_step(task) / self.target.speed, None

    def _bump(self, task: Task) -> float:
        """0.97 to 1.03, always the same for a patch."""
        return 0.97 + 0.06 * zlib.crc32(repr(task.configuration.patch_size).encode()) / 2**32


def described(
    shape: tuple[int, ...], spacing: tuple[float, ...], cases: int, channels: int = 1
) -> tuple[Dataset, Fingerprint]:
    keys = [f"case_{index}" for index in range(cases)]
    files = tuple(f"/{channel}.nii.gz" for channel in range(channels))
    listed = tuple(Case.of_files(key, files, f"/labels/{key}.nii.gz") for key in keys)
    labels = ExclusiveLabels({"background": 0, "a": 1, "b": 2})
    dataset = Dataset("Dataset001_Made", "/d", ("MRI",) * channels, labels, listed, ".nii.gz", "nnunet")
    case = CaseFingerprint(shape, spacing, shape, 1.0, "")
    intensities = (Intensities(0.0, 0.0, 1.0, -3.0, 3.0, -2.0, 2.0),) * channels
    return dataset, Fingerprint(dict.fromkeys(keys, case), intensities)


def planned(
    shape: tuple[int, ...],
    spacing: tuple[float, ...],
    target: Target,
    constraints: PlanConstraints = NO_CONSTRAINTS,
    cases: int = 60,
) -> Plan:
    """By the default planner."""
    bench: Bench = Formula(target)
    return measured.PLANNER.plan(*described(shape, spacing, cases), constraints, bench)


def iterations(configuration: Configuration) -> int:
    return configuration.training.epochs * configuration.training.iterations_per_epoch


def hours(configuration: Configuration) -> float:
    assert configuration.cost is not None
    return iterations(configuration) * configuration.cost.seconds / 3600
