"""Validation cases predicted once more in another way, to compare it with what validation did."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np

from ..core.estimate import Estimate
from ..core.labels import Labels
from ..core.parallel import ordered_map
from ..data.dataset import Dataset, LabelFiles
from ..data.label_maps import files_in, read_label_map
from ..errors import ModelError
from ..evaluation.counts import dice, named, overall, overlaps
from ..evaluation.paired import Paired, paired
from ..evaluation.resampling import patient_numbers
from ..evaluation.scores import summarise
from ..inference.model import Model
from ..inference.options import DEFAULT, PredictOptions
from ..preprocessing.estimates import Estimates
from ..run_folder import RunFolder
from ..settings import RunSettings
from ..task import Task
from .predict import predict

LOG = logging.getLogger("autoseg")
MOST_CASES = 40  # of all folds together
LEAST_GAIN = 0.001  # of the mean Dice, a tenth of a point: for less nobody wants to wait several times as long


@dataclass(frozen=True)
class Again:
    """Both predictions of the same cases."""

    before: np.ndarray
    """Dice (cases, labels) of what validation predicted."""
    after: np.ndarray
    keys: list[str]
    labels: Labels
    patients: Mapping[str, str]
    seconds: float
    """Of the second prediction, all cases together."""

    @property
    def gain(self) -> float:
        """Mean Dice of the first prediction minus that of the second."""
        return float(overall(self.before) - overall(self.after))

    @property
    def compared(self) -> Paired:
        """Likewise, with interval and test."""
        return paired(self.before, self.after, patient_numbers(self.keys, self.patients))

    def dice(self, scores: np.ndarray) -> Estimate:
        """Mean over labels of ``before`` or ``after``."""
        return summarise(named(scores, self.keys, self.labels), patients=self.patients).overall["dice"]


@dataclass(frozen=True)
class Validated:
    """What validation has predicted of one configuration."""

    task: Task
    folds: Mapping[str, tuple[RunFolder, tuple[str, ...]]]
    """Runs and their validation cases; of many cases some of every fold are taken."""
    dataset: Dataset
    patients: Mapping[str, str]
    """Case to patient, empty where each case is one."""
    settings: RunSettings
    estimates: Mapping[str, Estimates]
    """See ``predict``."""

    def again(self, told: str, other: Callable[[Model], Model], options: PredictOptions = DEFAULT) -> Again:
        """``other`` makes of each fold's model the one that predicts now. Raises ModelError where it cannot."""
        sample = _sample({fold: keys for fold, (_, keys) in self.folds.items()})
        files: dict[str, tuple[LabelFiles, ...]] = {}
        seconds, labels = 0.0, self.dataset.labels
        with tempfile.TemporaryDirectory(prefix="autoseg-") as scratch:
            for fold, (run, _) in self.folds.items():
                cases = [self.dataset.case(key) for key in sample[fold]]
                if not cases:
                    continue
                model = other(self.model(run))
                LOG.info("%s: %s %s", told, model.task.name, run.root.name)
                report = predict(model, cases, Path(scratch), options=options, estimates=self.estimates)
                if report.failed:
                    raise ModelError(f"cases could not be predicted {told}: {', '.join(report.failed)}")
                seconds += report.elapsed
                for case in cases:
                    places = (run.validation, Path(scratch))
                    written = [files_in(place, case.key, model.task.file_ending, labels) for place in places]
                    files[case.key] = (case.label_files, *written)
            scores = list(ordered_map(partial(_dice, labels=labels), files.values(), self.settings.threads))
        before, after = (np.stack(each) for each in zip(*scores))
        return Again(before, after, list(files), labels, self.patients, seconds)

    def model(self, run: RunFolder) -> Model:
        """Of one fold, as validation used it."""
        found = Model.read(run.root, settings=self.settings, trusted=run.trusted)
        assert isinstance(found, Model)  # a run is one configuration
        return found


def _sample(keys: Mapping[str, tuple[str, ...]]) -> dict[str, list[str]]:
    """At most MOST_CASES cases, the first of every fold, then the second, ..."""
    turns = zip_longest(*([(fold, key) for key in found] for fold, found in keys.items()))
    chosen = [pair for pair in chain.from_iterable(turns) if pair is not None][:MOST_CASES]
    return {fold: [key for other, key in chosen if other == fold] for fold in keys}


def _dice(files: tuple[LabelFiles, ...], *, labels: Labels) -> tuple[np.ndarray, np.ndarray]:
    """Of the first and the second prediction; the reference comes before them."""
    (true, *others) = files
    found = [read_label_map(each, labels) for each in others]
    reference = labels.encode(read_label_map(true, labels, found[0][1])[0])
    predictions = (labels.encode(label_map) for label_map, _ in found)
    one, other = (dice(overlaps(prediction, reference, labels), labels) for prediction in predictions)
    return one, other
