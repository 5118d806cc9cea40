"""Cases that lack channels: which ones a network can see, and what is said of those that are predicted all the same."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from ..bundle.trained import TrainedRuns
from ..core.estimate import Estimate
from ..core.missing import listed, subset_name
from ..core.names import short
from ..data.dataset import Case, Dataset
from ..data.folds import Fold
from ..errors import AutosegError, TrainingError
from ..inference.predictor import Predictor
from ..task import Task
from .export_bundle import cross_validation

LOG = logging.getLogger("autoseg")


def seen(keys: Sequence[str], task: Task, dataset: Dataset) -> tuple[str, ...]:
    """Of the cases ``keys`` those that lack no channel which the network needs."""
    return tuple(key for key in keys if task.problem_without(dataset.case(key).absent) is None)


def split_of_seen(split: Fold, task: Task, dataset: Dataset) -> Fold:
    """What a network of some channels is trained and validated on: it needs them, whatever else cases lack.

    Raises TrainingError where no case is left to train on.
    """
    if task.configuration.channels is None:
        return split
    train, validation = (seen(keys, task, dataset) for keys in (split.train, split.validation))
    names = listed([task.channels[number] for number in task.seen])
    if not train:
        raise TrainingError(f"{task.name} cannot be trained: it sees {names}, which no training case of the fold has")
    if left_out := len(split.train) + len(split.validation) - len(train) - len(validation):
        LOG.info("%s: %d cases lack %s and are left out", task.name, left_out, names)
    return Fold(train, validation)


def tell_missing(model: Predictor[Any], cases: Sequence[Case]) -> None:
    """Says of every case which channels it lacks, who is left out, and what the cross-validation says of the others.

    Of a model that takes one modality per case: which one a case is said to have, and how good the model is there.
    """
    if model.task.exclusive:
        _tell_modalities(model, cases)
        return
    groups: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for case in cases:
        if case.absent:
            groups[case.absent].append(case.key)
    if not groups:
        return
    channels, known = model.task.channels, subset_scores(model)
    whole = known.get(subset_name(channels))
    for absent, keys in groups.items():
        names, found = listed([channels[number] for number in absent]), known.get(subset_name(channels, absent))
        if found is None:
            said = "no cross-validation says how good the model is without"
        else:
            said = f"without, cross-validation found a Dice of {_told(found)}"
            said += f"; with all channels {_told(whole)}" if whole else ""
        if blind := model.left_out(absent):
            names += f", so that {listed(blind)} {'are' if len(blind) > 1 else 'is'} left out of the ensemble"
        for key in keys:
            LOG.warning("%s: lacks %s; %s", short(key), names, said)


def _tell_modalities(model: Predictor[Any], cases: Sequence[Case]) -> None:
    channels, known = model.task.channels, subset_scores(model)
    for name in [name for name in channels if name in known]:
        LOG.info("%s: cross-validation found a Dice of %s", name, _told(known[name]))
    for case in cases:
        if len(case.images) == len(channels):
            said = subset_name(channels, case.absent)
            LOG.info("%s: taken as %s, as its file name or --modality says", short(case.key), said)


def subset_scores(model: Predictor[Any]) -> dict[str, Estimate]:
    """The channels that are there, ``FLAIR + T1``, to the mean Dice over labels; nothing where none is known."""
    trained = model.trained
    try:
        scores = (
            cross_validation(trained.runs) if isinstance(trained, TrainedRuns) else trained and trained.manifest.scores
        )
    except AutosegError as error:  # scores that are damaged keep nobody from predicting
        LOG.warning("%s", error)
        return {}
    return {name: row["dice"] for name, row in scores.subsets.items() if "dice" in row} if scores else {}


def _told(dice: Estimate) -> str:
    if dice.mean is None:
        return "unknown"
    interval = "" if dice.low is None else f" ({dice.low:.3f}-{dice.high:.3f})"
    return f"{dice.mean:.3f}{interval} on {dice.cases} cases"
