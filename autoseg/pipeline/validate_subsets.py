"""After a fold's validation: the same cases with channels withheld, for models that do without some."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..core.missing import subset_name
from ..core.records import read_json
from ..data.dataset import Dataset
from ..data.label_maps import files_in
from ..errors import TrainingError
from ..evaluation.scores import Summary, summarise, write_scores
from ..inference.model import Model
from ..inference.predictor import Predictor
from .evaluate import Scorer, scored
from .predict import predict
from .results import Results
from .train_fold import FoldRun

LOG = logging.getLogger("autoseg")
Combinations = Mapping[tuple[int, ...], tuple[str, ...]]
"""Channels that are withheld to the validation cases that have all others."""


def validate_subsets(run: FoldRun, dataset: Dataset, model: Predictor[Any] | None = None) -> None:
    """Adds the scores of every subset of the channels to ``scores.json``, where the plan says that some may be missing.

    Those that are there stay, and so do label maps of a run that was stopped. Raises TrainingError for cases that
    cannot be predicted.
    """
    wanted, channels = combinations_of(run, dataset), run.plan.channels
    before = read_json(run.folder.scores, Summary)
    names = {absent: subset_name(channels, absent) for absent in wanted}
    todo = {absent: keys for absent, keys in wanted.items() if names[absent] not in before.subsets}
    if not todo:
        return
    passes = {absent: [key for key in keys if dataset.case(key).absent != absent] for absent, keys in todo.items()}
    if not run.task.exclusive:  # where each case has one modality, all have been predicted so
        LOG.info(
            "validating %d subsets of the channels, which are %d predictions more (none with --set "
            "missing.validate=false)",
            len(todo),
            sum(map(len, passes.values())),
        )
    model = model or Model.read(run.folder.root, settings=run.settings, trusted=run.files.trusted)
    subsets = {name: before.subsets[name] for name in names.values() if name in before.subsets}
    for absent, keys in todo.items():
        subsets[names[absent]] = _scored(run, dataset, model, absent, keys, passes[absent])
    ordered = {name: subsets[name] for name in names.values()}
    write_scores(run.folder.validation, replace(before, subsets=ordered))
    for name, summary in ordered.items():
        LOG.info("Dice with the channels %s, %d cases: %.3f", name, len(summary.cases), summary.dice)


def combinations_of(run: FoldRun, dataset: Dataset) -> Combinations:
    """All channels first, since they are what the others are compared with; nothing where no channel may be missing."""
    missing, channels = run.task.configuration.missing, run.plan.channels
    if missing is None or not missing.validate or not run.split.validation:
        return {}
    lacking = {case.key: set(case.absent) for case in dataset.cases}
    occurring = {case.absent for case in dataset.cases}
    every = [(), *missing.combinations(channels, occurring, run.plan.channel_sources)]
    found = {absent: tuple(key for key in run.split.validation if lacking[key] <= set(absent)) for absent in every}
    return {absent: keys for absent, keys in found.items() if keys}


def _scored(
    run: FoldRun,
    dataset: Dataset,
    model: Predictor[Any],
    absent: tuple[int, ...],
    keys: tuple[str, ...],
    passes: list[str],
) -> Summary:
    """Cases that lack just these channels were predicted so when the fold was validated.

    Channels are withheld when they have been aligned: scores need predictions on the grid of the reference.
    """
    folder, ending = run.folder.without(absent), run.plan.file_ending
    if passes:
        kept, ours = run.estimates, Results.read(folder)  # a label map that lies in another's place has its grid, too
        missing = [key for key in passes if not all(map(ours.is_own, files_in(folder, key, ending, dataset.labels)))]
        cases = [dataset.case(key) for key in missing]
        report = predict(model, cases, folder, existing="replace", withheld=absent, estimates=kept)
        if report.failed:
            raise TrainingError(
                f"{len(report.failed)} validation cases could not be predicted; the messages above say why"
            )

    def predicted(key: str) -> tuple[Path, ...]:
        return files_in(folder if key in passes else run.folder.validation, key, ending, dataset.labels)

    pairs = {key: (dataset.case(key).label_files, predicted(key)) for key in keys}
    scores = scored(pairs, Scorer(dataset.labels), workers=run.settings.threads)
    return summarise(scores, patients=run.files.read_folds().patients)
