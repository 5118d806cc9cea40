"""Prepared cases together with what the network sees beside their images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..core.geometry import Box
from ..core.inputs import InputGroup
from ..errors import DatasetError
from ..parts.contracts import Input
from ..task import Task
from .locations import Locations
from .priors import PriorStore, StoredPrior
from .store import StoredCase


@dataclass(frozen=True)
class CaseWithInputs:
    """A prepared case and its further inputs; reading is safe from several threads at once."""

    case: StoredCase
    inputs: tuple[Input, ...]
    groups: tuple[InputGroup, ...]
    """What the network gets of each of ``inputs``."""
    prior: StoredPrior | None = None
    """What an earlier stage predicted, where one of the inputs asks for it."""
    seen: tuple[int, ...] | None = None
    """Channels of the image that are read; None: all."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels (z, y, x) on the network's grid."""
        return self.case.shape

    @property
    def channels(self) -> int:
        """Of the image, those that are read."""
        return self.case.channels if self.seen is None else len(self.seen)

    @property
    def absent(self) -> tuple[int, ...]:
        """Channels that it lacks, counted from 0 among those that are read."""
        lacking = self.case.absent
        return tuple(n for n, channel in enumerate(self.seen) if channel in lacking) if self.seen else lacking

    @property
    def foreground(self) -> Locations:
        """Where the labels of the reference are."""
        return self.case.foreground

    def predicted(self, box: Box) -> np.ndarray:
        """Label indices (*box) that the earlier stage predicted. Raises ImageFileError when the file is damaged."""
        if self.prior is None:
            raise DatasetError("only an input that names an earlier stage may ask for its prediction")
        return self.prior.read(box)

    def read(self, box: Box) -> tuple[np.ndarray, ...]:
        """Image (channels, *box), label indices (*box), and of each further input (read, *box).

        Raises ImageFileError when a file is damaged, DatasetError for an input that is not what its group says.
        """
        extras = (
            filled(part.read(self, box), group, box.shape, f"case {self.case.folder.name}")
            for part, group in zip(self.inputs, self.groups)
        )
        return (*self.case.read(box, self.seen), *extras)


def with_inputs(cases: Mapping[str, StoredCase], task: Task, priors: PriorStore) -> dict[str, CaseWithInputs]:
    """The cases with the further inputs of ``task``; in ``priors`` is what its earlier stage, if any, predicted."""
    inputs, groups, cascade = task.configuration.inputs, task.inputs.extras, task.configuration.previous is not None
    seen = task.configuration.channels
    return {
        key: CaseWithInputs(case, inputs, groups, priors.open(key) if cascade else None, seen)
        for key, case in cases.items()
    }


def filled(array: np.ndarray | None, group: InputGroup, shape: Sequence[int], where: str) -> np.ndarray:
    """``array``, or zeros for an optional input that is absent. Raises DatasetError where it does not fit ``group``."""
    expected = (group.read, *shape)
    if array is None and group.optional:
        return np.zeros(expected, np.uint8 if group.whole_numbers else np.float32)
    if array is None or array.shape != expected:
        found = "nothing" if array is None else f"{array.shape} voxels"
        raise DatasetError(f"{where}: the input {group.name!r} has {found}, the network expects {expected}")
    return array
