"""What a classical method learns of training cases: how labels look and where they lie, its settings, corrections."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np

from ..core.evidence import Evidence, LabelledImage, Tally, tally
from ..core.labels import Labels
from ..core.machine import available_bytes
from ..core.parallel import ordered_map
from ..core.progress import progress
from ..corrections import POSTPROCESSORS, Correction
from ..data.dataset import Case, Dataset
from ..data.images import read_case
from ..data.label_maps import read_label_map
from ..errors import DatasetError
from ..evaluation.counts import dice
from ..evaluation.learn import Held, chosen
from ..parts.readers import read_header
from .baseline_view import View, Window, coarsening, segmented, values_of

Found = TypeVar("Found")
LOG = logging.getLogger("autoseg")
MOST_TALLIED = 40  # training cases whose labels are looked at
MOST_TRIED = 6  # of these, on which settings and corrections are tried
LARGEST_TRIED = 1 << 22  # voxels of a case on which settings are tried: of larger ones every second, third, ...
BYTES_PER_VOXEL = 24  # for labels, and as many for each channel
BYTES_PER_VALUE = 40  # of voxels times labels that a method takes at a time
MOST_CORRECTED = 12  # labels of which each is corrected by itself; of more all are taken together


@dataclass(frozen=True)
class Lesson:
    """What was learned."""

    method: Any
    evidence: Evidence
    telling: tuple[int, ...]
    """Of the channels that are looked at, counted from 0, the one first whose intensities say most about labels."""
    corrections: tuple[Correction, ...]
    tallied: tuple[str, ...]
    tried: tuple[str, ...]


@dataclass(frozen=True)
class _TrainingCase:
    """A training case."""

    view: View
    truth: np.ndarray
    """Label indices (z, y, x)."""


def learn(method: Any, dataset: Dataset, keys: Sequence[str], channels: Sequence[int], workers: int) -> Lesson:
    """Of the training cases ``keys`` alone; ``channels`` are those that are looked at. Raises DatasetError."""
    tallied = _spread(keys, MOST_TALLIED)
    look = partial(_tallied, dataset=dataset, channels=channels)
    looked = _fitting(look, tallied, dataset=dataset, channels=channels, method=method, workers=workers)
    found = list(progress(looked, len(tallied), "looking at training cases"))
    if not any(index for each in found for index in each):
        raise DatasetError(f"none of the {len(tallied)} training cases that were looked at has any label")
    evidence = Evidence.of(found)
    telling = evidence.telling()
    tried = _spread(tallied, MOST_TRIED)
    without = {key: _without(found, tallied.index(key), evidence) for key in tried}
    fitted = _fitted(method, dataset, channels, telling, without, workers)
    corrections = _corrections(fitted, dataset, channels, telling, without, workers)
    return Lesson(fitted, evidence, tuple(telling), corrections, tuple(tallied), tuple(tried))


def needed(key: str, *, dataset: Dataset, channels: int, method: Any) -> float:
    """About how many bytes looking at a case, or segmenting it, holds."""
    shape = read_header(dataset.case(key).grid_file(dataset.alignment)).geometry.shape
    return math.prod(shape) * BYTES_PER_VOXEL * (1 + channels) + BYTES_PER_VALUE * (method.largest or 0)


def _fitting(
    function: Callable[[str], Found],
    keys: Iterable[str],
    *,
    dataset: Dataset,
    channels: Sequence[int],
    method: Any,
    workers: int,
) -> Iterator[Found]:
    """``function`` of every case, of as many at a time as fit into memory."""
    taken = partial(needed, dataset=dataset, channels=len(channels), method=method)
    return ordered_map(function, keys, workers, 0, size=taken, room=available_bytes() / 2)


def read(case: Case, dataset: Dataset, channels: Sequence[int]) -> View:
    """Raises DatasetError naming a case that lacks all of the channels."""
    if set(channels) <= set(case.absent):
        raise DatasetError(f"case {case.key!r} has none of the channels that are looked at; name others with --channel")
    return View.of(read_case(case, dataset.alignment), channels, dataset.channels)


def _training_case(key: str, dataset: Dataset, channels: Sequence[int]) -> _TrainingCase:
    case = dataset.case(key)
    view = read(case, dataset, channels)
    return _TrainingCase(
        view, dataset.labels.encode(read_label_map(case.label_files, dataset.labels, view.geometry)[0])
    )


def _tallied(key: str, *, dataset: Dataset, channels: Sequence[int]) -> Tally:
    found = _training_case(key, dataset, channels)
    view = found.view
    return tally(view.image, view.turned(found.truth), view.spacing, view.absent, dataset.labels.ignore_index)


def _without(found: Sequence[Tally], number: int, whole: Evidence) -> Evidence:
    """Of all cases but one, so that settings are not tried on a case whose labels are known; of one case, of itself."""
    others = [each for place, each in enumerate(found) if place != number]
    evidence = Evidence.of(others) if others else whole
    return evidence if evidence.indices == whole.indices else whole  # numbers of labels must stay what they are


def _fitted(
    method: Any,
    dataset: Dataset,
    channels: Sequence[int],
    telling: Sequence[int],
    without: dict[str, Evidence],
    workers: int,
) -> Any:
    """The candidate of the best mean Dice over labels, on all of the cases together."""

    def labelled(key: str) -> LabelledImage:
        return _labelled(_training_case(key, dataset, channels), method, without[key], telling, dataset.labels)

    cases = list(_fitting(labelled, without, dataset=dataset, channels=channels, method=method, workers=workers))
    candidates = method.candidates()

    def tried(candidate: Any) -> tuple[float, Any]:
        spec = candidate.fitted(cases)
        return mean_dice(spec, cases), spec

    found = list(progress(ordered_map(tried, candidates, workers), len(candidates), "trying settings"))
    score, best = max(found, key=lambda each: each[0])
    LOG.info("settings learned of %d training cases: %s (Dice there: %.3f)", len(cases), shown(best), score)
    return best


def _labelled(
    found: _TrainingCase, method: Any, evidence: Evidence, telling: Sequence[int], labels: Labels
) -> LabelledImage:
    view = found.view
    truth = view.turned(found.truth)
    numbers = np.searchsorted(evidence.indices, truth).astype(np.int64)
    numbers[numbers == len(evidence.indices)] = 0
    known = np.array(evidence.indices)[numbers] == truth
    numbers = np.where(known, numbers, 0)  # a label too rare to be learned
    if labels.ignore_index is not None:
        numbers[truth == labels.ignore_index] = -1
    window = Window.of(view, method, evidence, telling)
    case = window.labelled(numbers, len(evidence.indices))
    steps = coarsening(case.truth.shape, case.spacing, LARGEST_TRIED)
    if case.hints is not None or max(steps) == 1:
        return case
    some = tuple(slice(None, None, step) for step in steps)
    spacing = tuple(edge * step for edge, step in zip(case.spacing, steps))
    return LabelledImage(case.image[(slice(None),) + some], spacing, case.truth[some], case.labels, None)


def mean_dice(spec: Any, cases: Sequence[LabelledImage]) -> float:
    """Over labels that occur, of the voxels of all cases together."""
    labels = cases[0].labels
    counted = np.zeros((labels, labels), np.int64)
    for case in cases:
        known = case.truth >= 0
        predicted = spec.segment(case.image, case.spacing, case.hints)[known]
        counted += np.bincount(predicted * labels + case.truth[known], minlength=labels**2).reshape(labels, labels)
    total = counted.sum(0) + counted.sum(1)
    scores = 2 * counted.diagonal() / np.maximum(total, 1)
    return float(scores[1:][total[1:] > 0].mean()) if (total[1:] > 0).any() else 0.0


def _corrections(
    method: Any,
    dataset: Dataset,
    channels: Sequence[int],
    telling: Sequence[int],
    without: dict[str, Evidence],
    workers: int,
) -> tuple[Correction, ...]:
    """Of each label the one that helps most and harms no label; none where nothing helps."""
    labels = dataset.labels

    def predicted(key: str) -> Held:
        found = _training_case(key, dataset, channels)
        label_map = values_of(labels)[segmented(found.view, method, without[key], telling)]
        return Held(label_map, found.truth, found.view.geometry, 0, key)

    made = _fitting(predicted, without, dataset=dataset, channels=channels, method=method, workers=workers)
    cases = list(progress(made, len(without), "trying corrections"))
    names: list[str | None] = list(labels.foreground)
    steps: list[Correction] = []
    for name in names if len(names) <= MOST_CORRECTED else [None]:
        kinds = [POSTPROCESSORS.load(kind) for kind in POSTPROCESSORS]
        trials = [Correction(name, each) for kind in kinds for each in kind.candidates()]
        counted = np.stack([case.tried(trials, labels) for case in cases], axis=1)
        best = chosen(dice(counted, labels))
        if best:
            steps.append(trials[best - 1])
            cases = [case.after(steps[-1], labels) for case in cases]
    return tuple(steps)


def _spread(keys: Sequence[str], most: int) -> list[str]:
    """At most so many of the keys, evenly spread, in their order."""
    places = np.linspace(0, len(keys) - 1, min(most, len(keys))).round().astype(int)
    return [keys[place] for place in dict.fromkeys(places.tolist())]


def shown(method: Any) -> str:
    """Settings for a person, without the numbers of many classes."""
    return ", ".join(f"{name} {value}" for name, value in vars(method).items() if name not in ("centres",)) or "none"
