"""What is said of cases to be predicted that lack channels: which, and how good the model is known to be without."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from ..bundle.trained import TrainedRuns
from ..core.estimate import Estimate
from ..core.missing import listed, subset_name
from ..core.names import short
from ..data.dataset import Case
from ..errors import AutosegError
from ..inference.predictor import Predictor
from .export_bundle import cross_validation

LOG = logging.getLogger("autoseg")


def tell_missing(model: Predictor[Any], cases: Sequence[Case]) -> None:
    """Says of every case which channels it lacks, and what the cross-validation says of the others.

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
