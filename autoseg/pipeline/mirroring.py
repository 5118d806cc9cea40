"""Whether mirroring pays: validation cases predicted again without it."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from functools import partial
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np

from ..bundle.manifest import MirroringTest
from ..core.labels import Labels
from ..core.parallel import ordered_map
from ..data.dataset import Dataset, LabelFiles
from ..data.label_maps import files_in, read_label_map
from ..errors import ModelError
from ..evaluation.counts import dice, named, overall, overlaps
from ..evaluation.paired import paired
from ..evaluation.resampling import patient_numbers
from ..evaluation.scores import summarise
from ..inference.model import Model
from ..inference.options import PredictOptions
from ..preprocessing.estimates import Estimates
from ..run_folder import RunFolder
from ..settings import RunSettings
from .predict import predict

LOG = logging.getLogger("autoseg")
MOST_CASES = 40  # of all folds together
LEAST_GAIN = 0.001  # of the mean Dice, a tenth of a point: for less nobody wants to wait several times as long


def measure_mirroring(
    folds: Mapping[str, tuple[RunFolder, tuple[str, ...]]],
    dataset: Dataset,
    *,
    patients: Mapping[str, str],
    settings: RunSettings,
    estimates: Mapping[str, Estimates],
) -> MirroringTest:
    """Compares predictions without mirroring with those that validation made with it.

    ``folds`` are runs of one configuration and their validation cases; of many cases some of every fold are taken.
    ``patients``: case to patient, empty where each case is one. ``estimates``: see ``predict``. Raises ModelError when
    a case cannot be predicted.
    """
    sample = _sample({fold: keys for fold, (_, keys) in folds.items()})
    files: dict[str, tuple[LabelFiles, ...]] = {}
    passes = 1
    with tempfile.TemporaryDirectory(prefix="autoseg-") as scratch:
        for fold, (run, _) in folds.items():
            cases = [dataset.case(key) for key in sample[fold]]
            if not cases:
                continue
            model = Model.read(run.root, settings=settings, trusted=run.trusted)
            passes = 2 ** len(model.task.mirrored)
            LOG.info("without mirroring: %s %s", model.task.name, run.root.name)
            report = predict(model, cases, Path(scratch), options=PredictOptions(tta="none"), estimates=estimates)
            if report.failed:
                raise ModelError(f"cases could not be predicted without mirroring: {', '.join(report.failed)}")
            for case in cases:
                written = [
                    files_in(place, case.key, model.task.file_ending, dataset.labels)
                    for place in (run.validation, Path(scratch))
                ]
                files[case.key] = (case.label_files, *written)
        scores = list(ordered_map(partial(_dice, labels=dataset.labels), files.values(), settings.threads))
    with_it, without = (np.stack(each) for each in zip(*scores))
    keys = list(files)
    compared = paired(with_it, without, patient_numbers(keys, patients))
    return MirroringTest(
        pays=bool(overall(with_it) - overall(without) >= LEAST_GAIN),
        dice_with=summarise(named(with_it, keys, dataset.labels), patients=patients).overall["dice"],
        dice_without=summarise(named(without, keys, dataset.labels), patients=patients).overall["dice"],
        difference=compared.difference,
        p=compared.p,
        passes=passes,
    )


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
