"""After training: the validation cases of a fold, predicted whole from their files and scored."""

from __future__ import annotations

import logging

from ..data.dataset import Dataset
from ..errors import TrainingError
from ..evaluation.scores import table
from ..inference.model import Model
from .evaluate import score_pairs
from .predict import predict
from .train_fold import FoldRun
from .validated import is_validated

LOG = logging.getLogger("autoseg")


def validate_fold(run: FoldRun, dataset: Dataset) -> None:
    """Predicts the validation cases from their files, as a user would, and scores them against theirs.

    Their probabilities are kept: `autoseg select` makes any ensemble of them, without predicting anew. What was done
    before and is damaged is done again. Raises TrainingError for cases that cannot be predicted.
    """
    folder, split, settings = run.folder, run.split, run.settings
    if not split.validation:
        LOG.info("fold all has no validation cases: score it on cases of your own with `autoseg evaluate`")
        return
    if is_validated(folder, split.validation, run.plan.file_ending, settings.threads):
        LOG.info("validation scores are in %s", folder.scores)
        return
    model = Model.read(folder.root, settings=settings, trusted=run.trusted)
    cases = [dataset.case(key) for key in split.validation]
    report = predict(model, cases, folder.validation, existing="keep", keep=folder.probabilities)
    if report.failed:
        raise TrainingError(f"{len(report.failed)} validation cases could not be predicted; the messages above say why")
    pairs = {case.key: (case.files[-1], folder.validation / f"{case.key}{model.task.file_ending}") for case in cases}
    patients = run.files.read_folds().patients
    summary = score_pairs(pairs, dataset.labels, folder.validation, patients=patients, workers=settings.threads)
    LOG.info("validation of fold_%s, %d cases:\n%s", run.fold, len(cases), table(summary))
