"""Which postprocessing a model's predictions gain from, found and judged on cases that its networks had not seen.

Postprocessing that is learned flatters itself twice: of many settings one fits these cases by chance, and so does one
of many steps. Therefore the whole sequence of steps is learned as often as there are folds, each time without one, and
every case is scored with what was learned without it: the scores of cross-validation (Stone 1974), nested, since each
step is chosen in the same way among the cases that are learned from. There it must surely help, as one of as many as
are tried: what chance favours in all cases it favours without any fold, too. Only if the scores of the whole sequence
surely gain and no label surely loses, the one that is learned from all cases is kept.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.geometry import Geometry
from ..core.labels import Labels
from ..core.parallel import ordered_map
from ..core.progress import progress
from ..corrections import POSTPROCESSORS, Correction, change
from ..data.folds import make_folds
from .counts import dice, mean_over_cases, overall, overlaps
from .paired import EQUAL, SURE, Paired, paired
from .resampling import patient_numbers

LEAST_GAIN = 1e-4  # of the mean Dice: below it postprocessing is not worth its line

Steps = tuple[Correction, ...]


class Held:
    """A case's label map and reference, compressed in memory."""

    def __init__(
        self, label_map: np.ndarray, reference: np.ndarray, geometry: Geometry, fold: int, patient: str
    ) -> None:
        """``label_map`` holds the user's values, ``reference`` indices; both (z, y, x) on the file's grid.

        ``fold`` is the one that predicted the case, ``patient`` whose it is.
        """
        self.geometry, self.fold, self.patient = geometry, fold, patient
        self._label_map, self._reference = _compressed(label_map), _compressed(reference)

    @property
    def label_map(self) -> np.ndarray:
        found: np.ndarray = self._label_map[...]
        return found

    @property
    def reference(self) -> np.ndarray:
        found: np.ndarray = self._reference[...]
        return found

    def after(self, correction: Correction, labels: Labels) -> Held:
        """The case with one more correction made."""
        label_map, made = self.label_map, copy.copy(self)
        change(label_map, correction, labels, self.geometry).apply(label_map)
        made._label_map = _compressed(label_map)
        return made

    def tried(self, candidates: Sequence[Correction], labels: Labels) -> np.ndarray:
        """Overlaps (1 + candidates, labels, 3) of the case as it is and after every candidate."""
        label_map, reference = self.label_map, self.reference
        indices = labels.encode(label_map)
        before = overlaps(indices, reference, labels)
        found = [before]
        for candidate in candidates:
            made = change(label_map, candidate, labels, self.geometry)
            there, old = reference.reshape(-1)[made.voxels], indices.reshape(-1)[made.voxels]
            new = labels.encode(made.values) if made.values.size else old
            found.append(before - overlaps(old, there, labels) + overlaps(new, there, labels))
        return np.stack(found)


def _compressed(array: np.ndarray) -> Any:
    import blosc2

    return blosc2.asarray(np.ascontiguousarray(array), cparams={"clevel": 1, "nthreads": 1})


@dataclass(frozen=True)
class Learned:
    """The postprocessing that is kept, and what learning it gains."""

    corrections: Steps
    """In the order in which they are to be made, as all cases teach them; none unless that surely gains."""
    gain: Paired
    """Every case with what was learned without its fold, against the case without postprocessing."""


def learn(cases: Sequence[Held], labels: Labels, workers: int = 1) -> tuple[Learned, list[Held]]:
    """The postprocessing, and the cases: where it is kept, each after what was learned without its fold."""
    names = [f"{number:06}" for number in range(len(cases))]
    patients = patient_numbers(names, {name: case.patient for name, case in zip(names, cases)})
    if patients.max() + 1 < fewest_patients(list(labels.foreground)):
        scores = _dice(cases, labels, workers)[0]
        return Learned((), paired(scores, scores, patients)), list(cases)
    folds = parts(np.array([case.fold for case in cases]), patients)
    everything = np.ones(len(cases), bool)
    lessons = [folds != fold for fold in np.unique(folds)]
    taught, states = _taught(cases, labels, [*lessons, everything], folds, patients, workers)
    after = list(cases)
    for lesson, steps in zip(lessons, taught):
        for number in np.flatnonzero(~lesson):
            after[number] = states[steps][number]
    before, held_out_scores = (_dice(held, labels, workers)[0] for held in (cases, after))
    gain = paired(held_out_scores, before, patients)
    kept = bool(taught[-1]) and gain.surely_better() and not _surely_harmed(held_out_scores, before, patients)
    return Learned(taught[-1] if kept else (), gain), after if kept else list(cases)


def fewest_patients(names: Sequence[str]) -> int:
    """Of fewer nothing is learned for labels of these names: even if all gained by one step, it might be chance."""
    level, patients = _level(len(list(_trials(names)))), 1
    while 2.0 ** (1 - patients) >= level:  # the p of the signed-rank test where all gain
        patients += 1
    return patients


def parts(folds: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """(cases,) what is held out together: the folds, or, of one fold, up to five parts of its patients.

    All 0 for a single patient, of whom nothing can be held out.
    """
    if len(np.unique(folds)) > 1:
        return folds
    found = np.zeros(len(folds), np.int64)
    if len(np.unique(patients)) > 1:
        whose = {f"{number:06}": f"{patient:06}" for number, patient in enumerate(patients)}
        for part, fold in enumerate(make_folds(whose, whose).folds):
            found[[int(key) for key in fold.validation]] = part
    return found


def _taught(
    cases: Sequence[Held],
    labels: Labels,
    lessons: Sequence[np.ndarray],
    folds: np.ndarray,
    patients: np.ndarray,
    workers: int,
) -> tuple[list[Steps], dict[Steps, list[Held]]]:
    """What each lesson, the cases (cases,) that are learned from, teaches, and all cases after it.

    All lessons go through the trials together, since most teach the same and what costs is to try corrections.
    """
    taught: list[Steps] = [()] * len(lessons)
    states: dict[Steps, list[Held]] = {(): list(cases)}
    trials = list(_trials(list(labels.foreground)))
    for candidates in progress(trials, len(trials), "trying corrections"):
        scores = {steps: _dice(held, labels, workers, candidates) for steps, held in states.items()}
        for number, lesson in enumerate(lessons):
            best = next_step(scores[taught[number]][:, lesson], folds[lesson], patients[lesson], len(trials))
            taught[number] += tuple(candidates[best - 1 : best])
        for steps in taught:
            if steps not in states:
                states[steps] = [case.after(steps[-1], labels) for case in states[steps[:-1]]]
        states = {steps: states[steps] for steps in taught}
    return taught, states


def _trials(names: Sequence[str]) -> Iterator[list[Correction]]:
    """Settings of one method for one label, for every label, all labels together first."""
    for target in [*([None] if len(names) > 1 else []), *names]:
        for name in POSTPROCESSORS:
            method = POSTPROCESSORS.load(name)
            if target is not None or method.whole_foreground:
                yield [Correction(target, setting) for setting in method.candidates()]


def _dice(cases: Sequence[Held], labels: Labels, workers: int, candidates: Sequence[Correction] = ()) -> np.ndarray:
    """(nothing and candidates, cases, labels)"""

    def tried(case: Held) -> np.ndarray:
        return case.tried(candidates, labels)

    return dice(np.stack(list(ordered_map(tried, cases, workers)), axis=1), labels)


def next_step(scores: np.ndarray, folds: np.ndarray, patients: np.ndarray, trials: int = 1) -> int:
    """Which of (candidates, cases, labels) is the next step; 0, no correction, unless choosing one surely gains.

    ``trials``: how many steps are tried in all.
    """
    best = chosen(scores)
    if best and improves(held_out(scores, parts(folds, patients)), scores[0], patients, _level(trials)):
        return best
    return 0


def _level(trials: int) -> float:
    """Below it a step's two-sided p must lie, so that chance makes any of them look like a gain once in 20 times at
    most (Bonferroni, one-sided: a loss is no gain)."""
    return 2 * SURE / trials


def chosen(scores: np.ndarray) -> int:
    """Of (candidates, cases, labels), the first being no correction, the best one that makes no label worse.

    Of equals the mildest.
    """
    means, labels = overall(scores), mean_over_cases(scores)
    harmless = ~((labels < labels[0] - EQUAL).any(-1) | np.isnan(means))
    return int(np.argmax(np.where(harmless, np.round(means, 9), -1)))


def held_out(scores: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Scores (cases, labels) when every fold is corrected with what is best on the other folds."""
    result = scores[0].copy()
    for fold in np.unique(folds):
        inside = folds == fold
        if not inside.all():  # otherwise there is nothing to learn from
            result[inside] = scores[chosen(scores[:, ~inside])][inside]
    return result


def _surely_harmed(after: np.ndarray, before: np.ndarray, patients: np.ndarray) -> bool:
    """Whether any label of (cases, labels) has an interval below 0.

    To ask that no label loses at all would leave that to chance: one that only seems to gain among the cases that are
    learned from seems to lose among others as often as not.
    """
    differences = [paired(after[:, [n]], before[:, [n]], patients).difference for n in range(after.shape[1])]
    return any(each.high is not None and each.high < 0 for each in differences)


def improves(after: np.ndarray, before: np.ndarray, patients: np.ndarray, level: float = SURE) -> bool:
    """Whether the mean Dice of (cases, labels) surely gains, at a two-sided ``level``, and no label loses."""
    worse = (mean_over_cases(after) < mean_over_cases(before) - EQUAL).any()
    if worse or not overall(after) - overall(before) >= LEAST_GAIN:
        return False
    return paired(after, before, patients).surely_better(level)
