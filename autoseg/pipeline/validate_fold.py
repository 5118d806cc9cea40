"""After training: the validation cases of a fold, predicted whole from their files and scored."""

from __future__ import annotations

import logging

from ..core.names import counted
from ..data.dataset import Dataset
from ..data.label_maps import files_in
from ..errors import TrainingError
from ..evaluation.tables import score_table
from ..inference.model import Model
from ..inference.outputs import AGREEMENT, chosen
from .evaluate import Scorer, score_pairs
from .predict import predict
from .train_fold import FoldRun
from .validate_subsets import validate_subsets
from .validated import is_scored, problems

LOG = logging.getLogger("autoseg")


def validate_fold(run: FoldRun, dataset: Dataset) -> None:
    """Predicts the validation cases from their files, as a user would, and scores them against theirs.

    Their probabilities are kept: `autoseg select` makes any ensemble of them, without predicting anew. What was done
    before and is damaged is done again. Raises TrainingError for cases that cannot be predicted.
    """
    folder, split, settings = run.folder, run.split, run.settings
    if not split.validation:
        LOG.info("%s has no validation cases: score it on cases of your own with `autoseg evaluate`", run.name)
        return
    todo = problems(folder, split.validation, run.plan, settings.threads)
    if not todo and is_scored(folder, split.validation):
        LOG.info("validation scores are in %s", folder.scores)
        validate_subsets(run, dataset)
        return
    for key in filter(todo.get, todo):
        LOG.warning("case %s: %s; it is predicted again", key, todo[key])
    model = Model.read(folder.root, settings=settings, trusted=run.files.trusted)
    outputs, cases = chosen(["stored_probabilities", AGREEMENT]), [dataset.case(key) for key in split.validation]
    missing = [case for case in cases if case.key in todo]
    report = predict(model, missing, folder.validation, outputs=outputs, existing="replace", recorded=False)
    if report.failed:
        raise TrainingError(f"{len(report.failed)} validation cases could not be predicted; the messages above say why")
    ending, labels = model.task.file_ending, dataset.labels
    pairs = {case.key: (case.label_files, files_in(folder.validation, case.key, ending, labels)) for case in cases}
    patients = run.files.read_folds().patients
    summary = score_pairs(pairs, Scorer(labels), folder.validation, patients=patients, workers=settings.threads)
    LOG.info("validation of fold_%s, %s:\n%s", run.fold, counted(len(cases), "case"), score_table(summary))
    validate_subsets(run, dataset, model)
