"""From a trained model and images to label maps."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..core.files import remove_unfinished
from ..core.parallel import ordered_map
from ..core.progress import progress
from ..dataset import Case
from ..errors import UsageError
from ..inference.memory import Gate, budget
from ..inference.options import DEFAULT, PredictOptions
from ..inference.predictor import Predictor
from ..inference.report import PredictReport
from .predict_stages import Stages

LOG = logging.getLogger("autoseg")


def predict(
    model: Predictor[Any],
    cases: Sequence[Case],
    output: Path,
    *,
    options: PredictOptions = DEFAULT,
    probabilities: str | None = None,
    overwrite: bool = True,
    keep: Path | None = None,
) -> PredictReport:
    """Writes ``output/<case><ending>`` for every case, and ``output/probabilities/<case>.nii.gz`` where asked for.

    The next case is read and prepared while the network works on this one and the last one is written, as far as
    memory allows; a processor works on several cases at once where there are many. A case that fails is reported and
    the others go on. ``probabilities`` is one of ``inference.probabilities.KINDS``; ``overwrite`` False keeps the label
    maps that an earlier run finished; ``keep`` is a folder for the probabilities in the form that ``autoseg select``
    reads. Raises UsageError when a label map would replace one of the images.
    """
    start = time.monotonic()
    with Gate(budget(model.settings.memory)) as gate:
        sources = {case.key: Path(case.images[0]) for case in cases}
        stages = Stages(model, output, options, probabilities, keep, gate, sources)
        _spare_images(cases, stages)
        for folder in (output, *([output / "probabilities"] if probabilities else []), *([keep] if keep else [])):
            folder.mkdir(parents=True, exist_ok=True)
            remove_unfinished(folder)
        todo = [case for case in cases if overwrite or not stages.finished(case.key)]
        on_network_grid = ordered_map(stages.prepared, todo, workers=1, stopped=stages.stopped)
        attempts = []
        for attempt in progress(stages.all_written(on_network_grid, len(todo)), len(todo), "predicting"):
            if attempt.error is not None:
                LOG.error("%s: %s", attempt.key, attempt.error)
            attempts.append(attempt)
    skipped = sorted({case.key for case in cases} - {case.key for case in todo})
    report = PredictReport.of(attempts, skipped, time.monotonic() - start)
    LOG.info("%s", report.table())
    return report


def refuse_among_images(images: Sequence[Path], output: Path) -> None:
    """Raises UsageError where ``output`` is one of the folders with images: the next time, label maps beside them would
    be taken for images."""
    if any(path.is_dir() and path.resolve() == output.resolve() for path in images):
        raise UsageError(
            f"{output} holds the images, among which label maps would be taken for images; give another -o"
        )


def _spare_images(cases: Sequence[Case], stages: Stages) -> None:
    images = {Path(path).resolve() for case in cases for path in case.images}
    targets = [stages.target(case.key) for case in cases]
    replaced = [path for path in targets if path.resolve() in images]
    if replaced:
        raise UsageError(f"the label map {replaced[0]} would replace an image; choose another output folder")
