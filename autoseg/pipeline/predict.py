"""From a trained model and images to label maps."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ..core.files import remove_unfinished
from ..core.geometry import Image
from ..core.parallel import ordered_map
from ..core.progress import progress
from ..dataset import Case
from ..errors import UsageError
from ..inference.attempt import Attempt
from ..inference.export import Prediction
from ..inference.kept import ENDING as KEPT_ENDING
from ..inference.model import Model
from ..inference.options import DEFAULT, PredictOptions
from ..inference.report import PredictReport
from ..parts.readers import read_image, write_channels, write_labels
from ..preprocessing.prepare import PreparedCase

LOG = logging.getLogger("autoseg")
PROBABILITY_ENDING = ".nii.gz"  # holds float channels, whatever the images were


def predict(
    model: Model,
    cases: Sequence[Case],
    output: Path,
    *,
    options: PredictOptions = DEFAULT,
    probabilities: bool = False,
    overwrite: bool = True,
    keep: Path | None = None,
) -> PredictReport:
    """Writes ``output/<case><ending>`` for every case, and ``output/probabilities/<case>.nii.gz`` where asked for.

    The next case is read and prepared while the network works on this one and the last one is written. A case that
    fails is reported and the others go on. ``overwrite`` False keeps the label maps that an earlier run finished.
    ``keep`` is a folder for the probabilities in the form that ``autoseg select`` reads.
    Raises UsageError when a label map would replace one of the images.
    """
    start = time.monotonic()
    targets = {case.key: output / f"{case.key}{model.plan.file_ending}" for case in cases}
    _spare_images(cases, targets)
    kept = {case.key: keep / f"{case.key}{KEPT_ENDING}" if keep else None for case in cases}
    for folder in (output, *([keep] if keep else [])):
        remove_unfinished(folder)
    todo = [case for case in cases if overwrite or not _exist(targets[case.key], kept[case.key])]

    def prepared(case: Case) -> Attempt[PreparedCase]:
        return Attempt(case.key, case).then("read", _read).then("prepare", model.prepare)

    def predicted(attempt: Attempt[PreparedCase]) -> Attempt[Prediction]:
        logits = attempt.then("network", lambda case: (case, model.logits(case, options)))
        return logits.then(
            "export", lambda pair: model.export(*pair, probabilities=probabilities, keep=kept[attempt.key])
        )

    def written(attempt: Attempt[Prediction]) -> Attempt[Path]:
        return attempt.then("write", partial(_write, key=attempt.key, path=targets[attempt.key]))

    on_network_grid = ordered_map(prepared, todo, workers=1)
    on_file_grid = map(predicted, on_network_grid)
    attempts = []
    for attempt in progress(ordered_map(written, on_file_grid, workers=1), len(todo), "predicting"):
        if attempt.error is not None:
            LOG.error("%s: %s", attempt.key, attempt.error)
        attempts.append(attempt)
    skipped = sorted({case.key for case in cases} - {case.key for case in todo})
    report = PredictReport.of(attempts, skipped, time.monotonic() - start)
    LOG.info("%s", report.table())
    return report


def _exist(*paths: Path | None) -> bool:
    return all(path is None or path.exists() for path in paths)


def _spare_images(cases: Sequence[Case], targets: dict[str, Path]) -> None:
    images = {Path(path).resolve() for case in cases for path in case.images}
    replaced = [path for path in targets.values() if path.resolve() in images]
    if replaced:
        raise UsageError(f"the label map {replaced[0]} would replace an image; choose another output folder")


def _read(case: Case) -> Image:
    return read_image([Path(path) for path in case.images])


def _write(prediction: Prediction, key: str, path: Path) -> Path:
    """The label map comes last: where it exists, the case is finished."""
    if prediction.probabilities is not None:
        beside = path.parent / "probabilities" / f"{key}{PROBABILITY_ENDING}"
        write_channels(prediction.probabilities, prediction.geometry, beside)
    write_labels(prediction.labels, prediction.geometry, path)
    return path
