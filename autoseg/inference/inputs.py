"""What a network sees of a case to be predicted: the image and, as further channels, all other inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..preprocessing.inputs import filled
from ..preprocessing.prepare import PreparedCase
from ..task import Task


@dataclass(frozen=True)
class _Case:
    """What an input may be made of. See ``core.inputs.CaseInPrediction``."""

    prepared: PreparedCase
    given: Any
    predicted: Callable[[], np.ndarray]
    """Computes what the earlier stage predicts."""

    @property
    def image(self) -> np.ndarray:
        return self.prepared.image

    @property
    def absent(self) -> tuple[int, ...]:
        return self.prepared.absent

    def points(self, points: np.ndarray) -> np.ndarray:
        return self.prepared.record.points(points)


def all_inputs(prepared: PreparedCase, task: Task, predicted: Callable[[], np.ndarray]) -> np.ndarray:
    """float32 (task.inputs.read, z, y, x). ``predicted`` gives the label indices (z, y, x) of an earlier stage.

    Raises DatasetError for an input that is needed and not there.
    """
    image, shape = prepared.image, prepared.image.shape[1:]
    extras = []
    for part, group in zip(task.configuration.inputs, task.inputs.extras):
        found = part.make(_Case(prepared, prepared.given.get(group.name), predicted))
        extras.append(filled(found, group, shape, "the case to be predicted"))
    return np.concatenate((image, *extras), dtype=np.float32) if extras else image
