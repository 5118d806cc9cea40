"""From a model on this machine to a bundle that works on any other, and what can be said about either."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..bundle.bundle import Bundle
from ..bundle.manifest import CrossValidation, Manifest
from ..bundle.trained import Trained, TrainedRuns, read_trained
from ..bundle.write import copy_bundle, write_bundle
from ..core.estimate import Estimate
from ..core.records import read_json
from ..errors import ModelError, RecordError
from ..evaluation.scores import CaseScores, Summary, summarise
from ..run_folder import RunFolder
from ..workspace import DatasetFolder
from .model_quality import quality_of

LOG = logging.getLogger("autoseg")


def export_bundle(
    path: Path,
    target: Path | None = None,
    *,
    folds: Sequence[str] | None = None,
    licence: str | None = None,
    citation: str | None = None,
    trusted: tuple[str, ...] = (),
) -> tuple[Path, Manifest]:
    """Writes the model in ``path`` (a bundle or ``runs/<configuration>``) as a new bundle: a zip where it ends so.

    ``target`` None is ``<name>.zip`` in the current folder. ``licence`` and ``citation`` replace what the model or its
    dataset says. Raises ModelError.
    """
    trained, manifest = described(path, folds=folds, licence=licence, citation=citation, trusted=trusted)
    target = target or Path(f"{manifest.name}.zip")
    try:
        if isinstance(trained, Bundle):
            copy_bundle(trained, target, manifest)
        else:
            trained.verify()
            weights = {name: {fold: run.weights for fold, run in runs.items()} for name, runs in trained.stages.items()}
            write_bundle(target, manifest, trained.plan, weights, trusted=trusted)
    except OSError as error:  # a full disk, for instance: what was begun is gone again
        raise ModelError(f"{target} could not be written: {error.strerror or error}") from None
    return target, manifest


def described(
    path: Path,
    *,
    folds: Sequence[str] | None = None,
    licence: str | None = None,
    citation: str | None = None,
    trusted: tuple[str, ...] = (),
) -> tuple[Trained, Manifest]:
    """The model in ``path`` and the manifest to give away with it. Raises ModelError."""
    trained = read_trained(path, folds, trusted)
    manifest = describe(trained)
    if licence is not None:
        manifest = replace(manifest, licence=licence)
    return trained, manifest if citation is None else replace(manifest, citation=citation)


def describe(trained: Trained) -> Manifest:
    """The manifest, for trained folds with what their dataset's folder and their validation say."""
    if not isinstance(trained, TrainedRuns):
        return trained.manifest
    fold = next(iter(trained.runs.values())).root.absolute()
    described = DatasetFolder(fold.parents[2]).dataset
    dataset = DatasetFolder(described.parent).read_dataset() if described.exists() else None
    known = quality_of(trained)
    return replace(
        trained.manifest,
        scores=cross_validation(trained.runs),
        predicted_dice=known.lines,
        training=known.training,
        licence=dataset.licence if dataset else "",
        citation=dataset.citation if dataset else "",
    )


def cross_validation(runs: dict[str, RunFolder]) -> CrossValidation | None:
    """Scores of the validation cases of all folds together; None when no fold was validated."""
    validated = {fold: run for fold, run in runs.items() if run.scores.exists()}
    if without := [fold for fold in runs if fold not in validated and fold != "all"]:
        LOG.warning("fold %s was not validated, its scores are not told; run `autoseg train` first", ", ".join(without))
    if not validated:
        return None
    cases: dict[str, CaseScores] = {}
    patients: dict[str, str] = {}
    for run in validated.values():
        found = validation_scores(run)
        cases |= case_scores(found)
        patients |= found.patients
    summary = summarise(cases, patients=patients)
    return CrossValidation(summary.overall, summary.labels, tuple(validated), _of_subsets(validated, patients))


def _of_subsets(validated: dict[str, RunFolder], patients: dict[str, str]) -> dict[str, dict[str, Estimate]]:
    """Of every subset of the channels that was validated, over all folds."""
    found: dict[str, dict[str, CaseScores]] = {}
    for run in validated.values():
        for name, summary in validation_scores(run).subsets.items():
            found.setdefault(name, {}).update(case_scores(summary))
    return {name: summarise(cases, patients=patients).overall for name, cases in found.items()}


def validation_scores(run: RunFolder) -> Summary:
    """Of the validation cases of a fold. Raises RecordError for scores that are not theirs."""
    predicted = {path.stem for path in run.probabilities.glob("*.json")}
    try:
        summary = read_json(run.scores, Summary)
        if predicted and predicted != set(summary.cases):
            raise RecordError(f"{run.scores} is of other cases than were predicted there")
    except RecordError as error:
        raise RecordError(f"{error}. Train this fold again, which scores its validation cases anew") from None
    return summary


def case_scores(summary: Summary) -> dict[str, CaseScores]:
    """By case, as ``score_case`` gave them."""
    return {
        key: {
            label: {metric: math.nan if value is None else value for metric, value in row.items()}
            for label, row in case.items()
        }
        for key, case in summary.cases.items()
    }
