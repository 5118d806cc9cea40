"""How good a chosen model is where channels are missing, from kept probabilities, as far as these say it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..core.estimate import Estimate
from ..core.missing import subset_name
from ..data.dataset import Dataset
from ..data.label_maps import read_label_map
from ..evaluation.scores import CaseScores, score_case, summarise
from ..task import Task
from .compare import Unseen

Decide = Callable[[Unseen], np.ndarray]
"""The label map that the model predicts of a case, (z, y, x) of the user's values."""


def scores_of_subsets(
    cases: Sequence[Unseen],
    scored: Mapping[str, CaseScores],
    members: Mapping[str, Task],
    decide: Decide,
    dataset: Dataset,
    patients: Mapping[str, str],
) -> dict[str, dict[str, Estimate]]:
    """The channels that are there, ``FLAIR + T1``, to metric to its mean over labels, for every subset that occurs.

    ``scored`` are the cases as they are, with the channels that they have. Beside those that lack just these channels
    count the cases that have more, where these are withheld by leaving members out: what the others say without them is
    only known of those that do not see them. Nothing where all cases have all channels.
    """
    occurring = sorted({case.absent for case in cases}, key=lambda absent: (len(absent), absent))
    if occurring == [()]:
        return {}
    found = {}
    for absent in [(), *filter(None, occurring)]:
        scores: dict[str, CaseScores] = {}
        for case in cases:
            if case.absent == absent:
                scores[case.key] = scored[case.key]
            elif members and (withheld := _without(case, absent, members)) is not None:
                scores[case.key] = _scores(withheld, decide, dataset)
        if scores:
            found[subset_name(dataset.channels, absent)] = summarise(scores, patients=patients).overall
    return found


def _without(case: Unseen, absent: tuple[int, ...], members: Mapping[str, Task]) -> Unseen | None:
    """The case as the members see it that do without the channels ``absent``; None where that is not known."""
    withheld = set(absent) - set(case.absent)
    if not set(case.absent) <= set(absent):
        return None
    there = {name: task for name, task in members.items() if task.problem_without(absent) is None}
    if not there or any(withheld & set(task.seen) for task in there.values()):
        return None
    return replace(case, kept={name: case.kept[name] for name in there}, absent=absent)


def _scores(case: Unseen, decide: Decide, dataset: Dataset) -> CaseScores:
    predicted = decide(case)
    reference, geometry = read_label_map(case.reference, dataset.labels, case.opened([*case.kept])[0].geometry)
    return score_case(reference, predicted, dataset.labels, geometry)
