"""Which corrections a model's predictions gain from, found on cases that its networks had not seen.

A correction with a setting could flatter itself: of many settings, one fits these cases by chance. Therefore every fold
is judged with the setting that was best on the others, and the correction is kept if that improves the mean Dice and no
label's. What is kept then uses the setting that is best on all cases.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..core.geometry import Geometry
from ..core.labels import Labels
from ..core.parallel import ordered_map
from ..core.progress import progress
from ..corrections import POSTPROCESSORS, Correction, change
from .counts import confusion, dice, mean_over_cases, overall, per_case
from .paired import Paired, paired

LEAST_GAIN = 1e-4  # of the mean Dice: below it a correction is not worth its line
EQUAL = 1e-9  # rounding


class Held:
    """A case's label map and reference, compressed in memory."""

    def __init__(self, label_map: np.ndarray, reference: np.ndarray, geometry: Geometry, fold: int) -> None:
        """``label_map`` holds the user's values, ``reference`` indices; both (z, y, x) on the file's grid."""
        import blosc2

        compress = partial(blosc2.asarray, cparams={"clevel": 1, "nthreads": 1})
        self.geometry, self.fold = geometry, fold
        self._label_map, self._reference = (compress(np.ascontiguousarray(a)) for a in (label_map, reference))

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
        label_map = self.label_map
        change(label_map, correction, labels, self.geometry).apply(label_map)
        return Held(label_map, self.reference, self.geometry, self.fold)


@dataclass(frozen=True)
class Learned:
    """A correction that is kept, and what it gains."""

    correction: Correction
    gain: Paired
    """Of the mean Dice of a case, with settings chosen on other folds."""


def learn(cases: Sequence[Held], labels: Labels, workers: int = 1) -> tuple[tuple[Learned, ...], list[Held]]:
    """Corrections in the order in which they are to be made, and the cases after them."""
    held, kept = list(cases), []
    folds = np.array([case.fold for case in cases])
    trials = list(_trials(labels))
    for candidates in progress(trials, len(trials), "trying corrections"):
        work = partial(_tried, candidates=candidates, labels=labels)
        matrices = np.stack(list(ordered_map(work, held, workers)), axis=1)  # (nothing and candidates, cases, ...)
        scores = dice(matrices, labels)
        best = chosen(scores)
        honest = held_out(scores, folds)
        if best and improves(honest, scores[0]):
            correction = candidates[best - 1]
            kept.append(Learned(correction, paired(per_case(honest), per_case(scores[0]))))
            held = [case.after(correction, labels) for case in held]
    return tuple(kept), held


def _trials(labels: Labels) -> Iterator[list[Correction]]:
    """Settings of one method for one label, for every label, all labels together first."""
    names = list(labels.foreground)
    for target in [*([None] if len(names) > 1 else []), *names]:
        for name in POSTPROCESSORS:
            method = POSTPROCESSORS.load(name)
            if target is not None or method.whole_foreground:
                yield [Correction(target, setting) for setting in method.candidates()]


def _tried(case: Held, *, candidates: Sequence[Correction], labels: Labels) -> np.ndarray:
    """Confusion matrices of the case as it is and after every candidate."""
    label_map, reference = case.label_map, case.reference
    indices = labels.encode(label_map)
    before = confusion(indices, reference, labels)
    found = [before]
    for candidate in candidates:
        made = change(label_map, candidate, labels, case.geometry)
        there, old = reference.reshape(-1)[made.voxels], indices.reshape(-1)[made.voxels]
        new = labels.encode(made.values) if made.values.size else old
        found.append(before - confusion(old, there, labels) + confusion(new, there, labels))
    return np.stack(found)


def chosen(scores: np.ndarray) -> int:
    """Of (candidates, cases, labels), the first being no correction, the best one that makes no label worse.

    Of equals the mildest.
    """
    means, labels = overall(scores), mean_over_cases(scores)
    harmless = ~(labels < labels[0] - EQUAL).any(-1)
    return int(np.argmax(np.where(harmless, np.round(means, 9), -1)))


def held_out(scores: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Scores (cases, labels) when every fold is corrected with what is best on the other folds."""
    result = scores[0].copy()
    for fold in np.unique(folds):
        inside = folds == fold
        if not inside.all():
            result[inside] = scores[chosen(scores[:, ~inside])][inside]
        else:  # nothing else to choose on
            result[inside] = scores[chosen(scores)][inside]
    return result


def improves(after: np.ndarray, before: np.ndarray) -> bool:
    """Whether the mean Dice of (cases, labels) gains and no label loses."""
    worse = (mean_over_cases(after) < mean_over_cases(before) - EQUAL).any()
    return bool(overall(after) - overall(before) >= LEAST_GAIN and not worse)
