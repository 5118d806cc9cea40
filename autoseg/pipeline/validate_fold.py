"""After training: the validation cases of a fold, predicted whole from their files and scored."""

from __future__ import annotations

import logging

import numpy as np

from ..core.names import counted
from ..data.dataset import Dataset
from ..data.label_maps import files_in
from ..errors import TrainingError
from ..evaluation.calibration import Bins
from ..evaluation.tables import score_table
from ..inference.model import Model
from ..inference.outputs import AGREEMENT, chosen
from ..inference.stored_probabilities import open_stored
from .calibrate import calibrate, count_bins, write_calibration
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
    cases = [dataset.case(key) for key in split.validation]
    if not todo and is_scored(folder, split.validation):
        LOG.info("validation scores are in %s", folder.scores)
        if not folder.calibration.exists():
            calibrate(folder, cases, run.plan.labels, settings.threads)
        validate_subsets(run, dataset)
        return
    for key in filter(todo.get, todo):
        LOG.warning("case %s: %s; it is predicted again", key, todo[key])
    model = Model.read(folder.root, settings=settings, trusted=run.files.trusted)
    outputs = chosen(["stored_probabilities", AGREEMENT])
    missing = [case for case in cases if case.key in todo]
    report = predict(
        model,
        missing,
        folder.validation,
        outputs=outputs,
        existing="replace",
        recorded=False,
        estimates=run.estimates,
    )
    if report.failed:
        raise TrainingError(f"{len(report.failed)} validation cases could not be predicted; the messages above say why")
    ending, labels = model.task.file_ending, dataset.labels
    pairs = {case.key: (case.label_files, files_in(folder.validation, case.key, ending, labels)) for case in cases}
    patients = run.files.read_folds().patients
    bins: dict[str, dict[str, Bins]] = {}

    def count(key: str, reference: np.ndarray) -> None:
        bins[key] = count_bins(open_stored(folder.kept(key)), reference, run.plan.labels)

    scorer = Scorer(labels, beside=count)
    summary = score_pairs(pairs, scorer, folder.validation, patients=patients, workers=settings.threads)
    write_calibration(folder, {case.key: bins[case.key] for case in cases})
    LOG.info("validation of fold_%s, %s:\n%s", run.fold, counted(len(cases), "case"), score_table(summary))
    validate_subsets(run, dataset, model)
