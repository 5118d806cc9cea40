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
from ..data.dataset import Dataset
from ..errors import ModelError
from ..evaluation.counts import confusion, dice, named, overall
from ..evaluation.paired import paired
from ..evaluation.resampling import patient_numbers
from ..evaluation.scores import summarise
from ..inference.model import Model
from ..inference.options import PredictOptions
from ..parts.readers import read_labels
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
) -> MirroringTest:
    """Compares predictions without mirroring with those that validation made with it.

    ``folds`` are runs of one configuration and their validation cases; of many cases some of every fold are taken.
    ``patients``: case to patient, empty where each case is one. Raises ModelError when a case cannot be predicted.
    """
    sample = _sample({fold: keys for fold, (_, keys) in folds.items()})
    pairs: dict[str, tuple[Path, Path, Path]] = {}
    passes = 1
    with tempfile.TemporaryDirectory(prefix="autoseg-") as scratch:
        for fold, (run, _) in folds.items():
            cases = [dataset.case(key) for key in sample[fold]]
            if not cases:
                continue
            model = Model.read(run.root, settings=settings, trusted=run.trusted)
            passes = 2 ** len(model.task.mirrored)
            LOG.info("without mirroring: %s %s", model.task.name, run.root.name)
            report = predict(model, cases, Path(scratch), options=PredictOptions(tta="none"))
            if report.failed:
                raise ModelError(f"cases could not be predicted without mirroring: {', '.join(report.failed)}")
            for case in cases:
                name = f"{case.key}{model.task.file_ending}"
                pairs[case.key] = case.files[-1], run.validation / name, Path(scratch) / name
        found = list(ordered_map(partial(_dice, labels=dataset.labels), pairs.values(), settings.threads))
    with_it, without = (np.stack(scores) for scores in zip(*found))
    keys = list(pairs)
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


def _dice(files: tuple[Path, Path, Path], *, labels: Labels) -> tuple[np.ndarray, np.ndarray]:
    reference, *predictions = (labels.encode(read_labels(path)[0]) for path in files)
    one, other = (dice(confusion(prediction, reference, labels), labels) for prediction in predictions)
    return one, other
