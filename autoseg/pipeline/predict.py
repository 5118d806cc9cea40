"""From a trained model and images to label maps."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.files import remove_unfinished
from ..core.geometry import Geometry, Image
from ..core.parallel import ordered_map
from ..core.progress import progress
from ..dataset import Case
from ..errors import UsageError
from ..inference.attempt import Attempt
from ..inference.export import Prediction
from ..inference.kept import ENDING as KEPT_ENDING
from ..inference.memory import Gate, budget
from ..inference.options import DEFAULT, PredictOptions, Wanted
from ..inference.predictor import Predictor, Prepared
from ..inference.report import PredictReport
from ..inference.window import Space
from ..parts.readers import read_header, read_image, write_channels, write_labels

LOG = logging.getLogger("autoseg")
PROBABILITY_ENDING = ".nii.gz"  # holds channels of any type, whatever the images were


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
    memory allows. A case that fails is reported and the others go on. ``probabilities`` is one of
    ``inference.probabilities.KINDS``; ``overwrite`` False keeps the label maps that an earlier run finished; ``keep``
    is a folder for the probabilities in the form that ``autoseg select`` reads. Raises UsageError when a label map
    would replace one of the images.
    """
    start = time.monotonic()
    with Gate(budget(model.settings.memory)) as gate:
        stages = _Stages(model, output, options, probabilities, keep, gate)
        _spare_images(cases, stages)
        for folder in (output, *([keep] if keep else [])):
            folder.mkdir(parents=True, exist_ok=True)
            remove_unfinished(folder)
        todo = [case for case in cases if overwrite or not stages.finished(case.key)]
        on_network_grid = ordered_map(stages.prepared, todo, workers=1)
        on_file_grid = map(stages.predicted, on_network_grid)
        attempts = []
        for attempt in progress(ordered_map(stages.written, on_file_grid, workers=1), len(todo), "predicting"):
            if attempt.error is not None:
                LOG.error("%s: %s", attempt.key, attempt.error)
            attempts.append(attempt)
    skipped = sorted({case.key for case in cases} - {case.key for case in todo})
    report = PredictReport.of(attempts, skipped, time.monotonic() - start)
    LOG.info("%s", report.table())
    return report


@dataclass(frozen=True)
class _Stages:
    """What happens to a case: each stage runs in a thread of its own."""

    model: Predictor[Any]
    output: Path
    options: PredictOptions
    probabilities: str | None
    keep: Path | None
    gate: Gate

    def target(self, key: str) -> Path:
        return self.output / f"{key}{self.model.plan.file_ending}"

    def kept(self, key: str) -> Path | None:
        return self.keep / f"{key}{KEPT_ENDING}" if self.keep else None

    def finished(self, key: str) -> bool:
        return all(path.exists() for path in (self.target(key), self.kept(key)) if path)

    def prepared(self, case: Case) -> Attempt[Any]:
        """Waits until memory suffices for the case, which is judged by its header."""
        header = Attempt(case.key, case).then("read", lambda case: (case, read_header(Path(case.images[0])).geometry))
        if header.result is not None:
            self.gate.enter(case.key, self._needed(case.key, header.result[1]))
        return header.then("read", lambda known: _read(known[0])).then("prepare", self.model.prepare)

    def predicted(self, attempt: Attempt[Any]) -> Attempt[Prediction]:
        def decided(case: Prepared) -> Prediction:
            space = Space(self.model.need(case.geometry).room(self.gate.budget), self.output)
            wanted = Wanted(self.probabilities, self.output, self.kept(attempt.key))
            return self.model.decide(case, self.options, wanted, space=space, clock=attempt.clock)

        return attempt.then("network", decided)

    def written(self, attempt: Attempt[Prediction]) -> Attempt[Path]:
        """The label map comes last: where it exists, the case is finished."""

        def write(prediction: Prediction) -> Path:
            if chances := prediction.probabilities:
                beside = self.output / "probabilities" / f"{attempt.key}{PROBABILITY_ENDING}"
                write_channels(chances.stored, prediction.geometry, beside, chances.scale)
            write_labels(prediction.labels, prediction.geometry, self.target(attempt.key))
            return self.target(attempt.key)

        try:
            return attempt.then("write", write)
        finally:
            self.gate.leave(attempt.key)

    def _needed(self, key: str, geometry: Geometry) -> int:
        needed = self.model.need(geometry)
        least = max(needed.reading, needed.fixed)
        if least > self.gate.budget:
            gigabytes = (least / 1e9, max(0, self.gate.budget) / 1e9)
            LOG.warning("%s: takes about %.1f GB of memory, but only %.1f GB are left for it", key, *gigabytes)
        return needed.total(self.gate.budget)


def _spare_images(cases: Sequence[Case], stages: _Stages) -> None:
    images = {Path(path).resolve() for case in cases for path in case.images}
    targets = [stages.target(case.key) for case in cases]
    replaced = [path for path in targets if path.resolve() in images]
    if replaced:
        raise UsageError(f"the label map {replaced[0]} would replace an image; choose another output folder")


def _read(case: Case) -> Image:
    return read_image([Path(path) for path in case.images])
