"""What is counted in label maps, each read once for it: how large labels are, and which was taken for which."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from ..core.geometry import Geometry
from ..core.masks import MaskLabels
from ..core.parallel import ordered_map
from ..core.progress import progress
from ..data.dataset import Case, LabelFiles
from ..data.label_maps import files_in, read_label_map
from ..errors import AutosegError
from ..evaluation.confusion import Confusion, confusion
from .cases import counts, voxel_size
from .source import Source

MOST_COMPARED = 1_500_000_000
"""Voxels of predictions that are read for a page: 200 volumes of 190 voxels cubed, 20 ns each."""


@dataclass(frozen=True)
class Compared:
    """The predictions of one configuration, with the reference."""

    confusion: Confusion
    """In ml, of 2-D images mm2."""
    cases: tuple[str, ...]
    validated: int
    """Cases of which there are predictions; where these are too many, not all are looked at."""
    wrong: tuple[str, ...]
    """Messages of those that could not be read."""


@dataclass(frozen=True)
class Counted:
    """Of all cases."""

    sizes: dict[str, dict[str, float]]
    """Case to label to its size in ml, of 2-D images mm2."""
    compared: dict[str, Compared]
    """By configuration."""
    wrong: tuple[str, ...]
    """Messages of the label maps that cannot be read."""


Predictions = Mapping[str, Mapping[str, LabelFiles]]
"""Case to configuration to its prediction."""


@dataclass
class _Case:
    """Mutable: what one case gives."""

    size: float
    """Of a voxel."""
    sizes: dict[str, float]
    confusion: dict[str, Confusion] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)


def counted(source: Source) -> Counted:
    """Counts when it is first asked for."""
    if source.counted is None:
        source.counted = _count(source)
    return source.counted


def _count(source: Source) -> Counted:
    cases, every = source.dataset.cases, _validated(source)
    chosen = _some(every, source)
    look = partial(_look, source=source, predictions=chosen)
    found: dict[str, _Case] = {}
    wrong = []
    results = progress(ordered_map(look, cases, source.threads), len(cases), "reading label maps")
    for case, result in zip(cases, results):
        if isinstance(result, str):
            wrong.append(f"case {case.key}: {result}")
        else:
            found[case.key] = result
    names = dict.fromkeys(name for predictions in every.values() for name in predictions)
    compared = {name: _compared(name, found, sum(name in each for each in every.values())) for name in names}
    return Counted({key: case.sizes for key, case in found.items()}, compared, tuple(wrong))


def _validated(source: Source) -> Predictions:
    """What each configuration predicts of cases that its networks had not seen."""
    found: dict[str, dict[str, LabelFiles]] = {}
    ending, labels = source.dataset.file_ending, source.dataset.labels
    for name, runs in source.scored().items():
        for run in runs:
            summary = source.summaries(name)[0].get(run.fold)
            for key in summary.cases if summary else ():
                found.setdefault(key, {})[name] = files_in(run.validation, key, ending, labels)
    return found


def _some(every: Predictions, source: Source) -> Predictions:
    """Every case, or every second, third, ..., so that no more voxels are read than a page has time for."""
    measured = source.fingerprint.cases if source.fingerprint else {}
    voxels = sum(len(each) * math.prod(measured[key].shape) for key, each in every.items() if key in measured)
    return {key: every[key] for key in sorted(every)[:: max(1, math.ceil(voxels / MOST_COMPARED))]}


def _look(case: Case, source: Source, predictions: Predictions) -> _Case | str:
    labels, measured = source.dataset.labels, source.fingerprint
    spacing = measured.cases[case.key].spacing if measured and case.key in measured.cases else (1.0, 1.0, 1.0)
    try:
        label_map, geometry = read_label_map(case.label_files, labels, Geometry.plain((1, 1, 1), spacing))
    except (AutosegError, OSError) as error:
        return source.told(error)
    size = voxel_size(geometry.spacing)
    found = _Case(size, {name: count * size for name, count in counts(label_map, labels).items()})
    whole = replace(labels, absent_are_empty=False) if isinstance(labels, MaskLabels) else labels
    for name, files in predictions.get(case.key, {}).items():
        try:
            found.confusion[name] = confusion(label_map, read_label_map(files, whole)[0], labels)
        except (AutosegError, OSError) as error:
            found.wrong[name] = source.told(error)
    return found


def _compared(name: str, found: Mapping[str, _Case], validated: int) -> Compared:
    total = Confusion()
    there = {key: case for key, case in found.items() if name in case.confusion}
    for case in there.values():
        total.add(case.confusion[name], case.size)
    wrong = tuple(f"case {key}: {case.wrong[name]}" for key, case in found.items() if name in case.wrong)
    return Compared(total, tuple(there), validated, wrong)
