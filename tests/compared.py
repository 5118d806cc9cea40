"""A second configuration beside that of ``reported``, with what validation tells of probabilities and quality."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from reported import CASES, CONFIGURATION, LABELS, label_map, make_fold, predicted

from autoseg.core.records import write_json
from autoseg.evaluation.calibration import Bins, Calibration, binned
from autoseg.evaluation.quality_table import QUALITY, Quality, write_quality
from autoseg.workspace import DatasetFolder

OTHER = "2d"
PREDICTED = 204  # of 255: 0.8
Predict = Callable[[str], np.ndarray]


def better(key: str) -> np.ndarray:
    """As ``predicted``, but with the lesion, and with all of the organ in every third case."""
    number = CASES.index(key)
    labels, worse = label_map(number), predicted(key)
    found = labels if number % 3 == 0 else np.where(labels == 2, 2, worse)
    return np.asarray(found, np.uint8)


def make_other(files: DatasetFolder) -> None:
    for fold in ("0", "1"):
        make_fold(files, fold, OTHER, better)
        for configuration in (CONFIGURATION, OTHER):
            calibrated(files, configuration, fold)
            measured(files, configuration, fold)


def calibrated(files: DatasetFolder, configuration: str, fold: str, keys: Sequence[str] = ()) -> None:
    """Voxels that are predicted have a probability of 0.8, all others of 0."""
    predict = predicted if configuration == CONFIGURATION else better
    cases = {key: _bins(key, predict) for key in keys or files.read_folds().named(fold).validation}
    write_json(files.run(configuration, fold).calibration, Calibration(cases), sealed=True)


def _bins(key: str, predict: Predict) -> dict[str, Bins]:
    reference, found = label_map(CASES.index(key)), predict(key)
    bins = {}
    for name, value in LABELS.items():
        if value:
            codes = np.where(found == value, PREDICTED, 0)
            bins[name] = binned(
                *(np.bincount(each, minlength=256) for each in (codes.ravel(), codes[reference == value]))
            )
    return bins


def measured(files: DatasetFolder, configuration: str, fold: str) -> None:
    """Agreements that rank cases nearly as their Dice does; the lesion's is not known in odd cases."""
    table = {}
    for key in files.read_folds().named(fold).validation:
        number = CASES.index(key)
        organ = Quality(0.95 - 0.05 * min(number, 5) + 0.001 * number)
        lesion = Quality(None if number % 2 else 0.5)
        table[key] = dict(zip([name for name, value in LABELS.items() if value], (organ, lesion)))
    write_quality(files.run(configuration, fold).validation / QUALITY, table)
