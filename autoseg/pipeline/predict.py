"""From a trained model and images to label maps."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..core.files import remove_unfinished
from ..core.names import short
from ..core.parallel import ordered_map
from ..core.progress import progress
from ..data.dataset import Case
from ..data.dataset_json import described
from ..data.label_maps import files_in
from ..errors import UsageError
from ..inference.attempt import Attempt
from ..inference.memory import Gate, budget
from ..inference.options import DEFAULT, PredictOptions
from ..inference.outputs import AGREEMENT, LABEL_MAP, Outputs, chosen
from ..inference.predictor import Predictor, asks_disagreement
from ..inference.report import PredictReport
from ..preprocessing.estimates import Estimates
from ..preprocessing.filtering import names_of_filters
from .model_quality import ModelQuality, quality_of
from .predict_stages import Stages
from .predictions import QualityFile, refuse_others, write_predictions
from .results import Results
from .volumes import refuse_others_table, write_volumes

LOG = logging.getLogger("autoseg")
EXISTING = ("refuse", "keep", "replace")


def predict(
    model: Predictor[Any],
    cases: Sequence[Case],
    folder: Path,
    *,
    options: PredictOptions = DEFAULT,
    outputs: Outputs | None = None,
    existing: str = "refuse",
    refused: Mapping[str, str] | None = None,
    recorded: bool = True,
    withheld: tuple[int, ...] = (),
    volumes: bool = False,
    estimates: Mapping[str, Estimates] | None = None,
) -> PredictReport:
    """Writes ``folder/<case><ending>`` for every case, and the files of other ``outputs`` (see ``outputs.chosen``).

    ``dataset.json`` names the labels for whoever evaluates; ``volumes`` asks for ``volumes.csv``. With the output
    ``agreement``, ``quality.csv`` tells how good each is likely to be, and ``predictions.json`` where images lie.

    The next case is read and prepared while the network works on this one and the last one is written, as far as
    memory allows; a processor works on several cases at once where there are many. A case that fails is reported and
    the others go on; so are those of ``refused``, with the reason why they were not even tried.

    What earlier runs wrote is replaced; ``existing``, one of ``EXISTING``, says what becomes of other files in their
    place: ``refuse`` raises UsageError, ``replace`` replaces them, and ``keep`` predicts only what is not there,
    whoever wrote it, or cannot be used. Where ``folder`` is autoseg's own, what is written need not be ``recorded``.
    Channels that are ``withheld``, counted from 0, are missing to the networks; their files still place the others.
    ``estimates`` say for cases of a workspace where it keeps what filters find slowly.
    Raises UsageError when a result would replace an image, or the model cannot do what ``options`` ask for.
    """
    if existing not in EXISTING:
        raise UsageError(f"existing {existing!r} is unknown; choose one of {', '.join(EXISTING)}")
    model.refuse(options)
    start, wanted = time.monotonic(), outputs or chosen()
    _warn_of_little_use(model, wanted, options)
    if filters := names_of_filters(model.task.configuration, model.task.channels):
        slowly = "" if estimates else "; this takes its time"
        LOG.info("images are filtered first (%s), as those of the training were%s", filters, slowly)
    gate = Gate(budget(model.settings.memory))
    by_key = {case.key: case for case in cases}
    stages = Stages(model, folder, options, wanted, gate, Results.read(folder), by_key, recorded, withheld, estimates)
    todo = _todo(cases, stages, existing, volumes)
    for place in sorted({folder, *(path.parent for case in cases for path in stages.files(case.key))}):
        place.mkdir(parents=True, exist_ok=True)
        remove_unfinished(place)
    task = model.task
    if recorded:
        stages.results.write_names(described(task.labels, task.channels, task.file_ending))
    stages = _with_quality(stages, cases)
    attempts: list[Attempt[Path]] = [Attempt(key, None, error=why) for key, why in (refused or {}).items()]
    on_network_grid = ordered_map(stages.prepared, todo, workers=1, stopped=stages.stopped)
    with closing(on_network_grid), gate:  # the gate opens first: whoever waits there is waited for
        _tell(attempts)
        made = stages.all_written(on_network_grid, len(todo))
        for attempt in progress(made, len(todo), "predicting", stages.reached):
            _tell([attempt])
            attempts.append(attempt)
    skipped = sorted({case.key for case in cases} - {case.key for case in todo})
    report = PredictReport.of(attempts, skipped, time.monotonic() - start)
    LOG.info("%s", report.stage_table())
    if stages.quality is not None:
        stages.quality.end()
    if volumes:
        _write_volumes(stages, [key for key in by_key if key not in report.failed])
    return report


def _warn_of_little_use(model: Predictor[Any], wanted: Outputs, options: PredictOptions) -> None:
    if asks_disagreement(wanted) and model.passes(options) == 1:
        LOG.warning("one network that sees no mirror images disagrees with itself only where patches overlap")
    if options.calibrated and wanted.keys() <= {LABEL_MAP, AGREEMENT}:
        LOG.warning("calibration changes no label map; ask for --probabilities or --also uncertainty, too")


def _write_volumes(stages: Stages, keys: Sequence[str]) -> None:
    """Of cases whose label maps lie in the folder."""
    task, settings = stages.model.task, stages.model.settings
    written = {key: files_in(stages.folder, key, task.file_ending, task.labels) for key in keys}
    LOG.info("volumes: %s", write_volumes(stages.results, written, task.labels, settings.threads))


def _todo(cases: Sequence[Case], stages: Stages, existing: str, volumes: bool) -> list[Case]:
    """The cases that are predicted now. Raises UsageError for what would be replaced and must not be."""
    _spare_images(cases, stages)
    if volumes:
        refuse_others_table(stages.results, existing)
    if AGREEMENT in stages.outputs and stages.recorded:
        refuse_others(stages.results, existing)
    todo = [case for case in cases if existing != "keep" or not stages.finished(case.key)]
    if existing != "replace":
        _spare_others(todo, stages, existing)
    return todo


def _with_quality(stages: Stages, cases: Sequence[Case]) -> Stages:
    """With the table of agreements, where these are measured."""
    if AGREEMENT not in stages.outputs:
        return stages
    known = quality_of(stages.model.trained) if stages.recorded else ModelQuality()
    if stages.recorded:
        write_predictions(stages.results, stages.model, cases, known)
    table = QualityFile.begun(stages.folder, known.lines, stages.results if stages.recorded else None)
    return replace(stages, quality=table)


def _tell(attempts: Sequence[Attempt[Path]]) -> None:
    """Says what has failed."""
    for attempt in attempts:
        if attempt.error is not None:
            LOG.error("%s: %s", attempt.key, attempt.error)


def refuse_among_images(images: Sequence[Path], output: Path) -> None:
    """Raises UsageError where ``output`` is one of the folders with images: the next time, label maps beside them would
    be taken for images."""
    if any(path.is_dir() and os.path.realpath(path) == os.path.realpath(output) for path in images):
        raise UsageError(
            f"{output} holds the images, among which label maps would be taken for images; give another -o"
        )


def _spare_images(cases: Sequence[Case], stages: Stages) -> None:
    images = {os.path.realpath(path) for case in cases for path in case.image_files}
    targets = [path for case in cases for path in stages.files(case.key)]
    replaced = [path for path in targets if os.path.realpath(path) in images]
    if replaced:
        raise UsageError(f"the result {replaced[0]} would replace an image; choose another output folder")


def _spare_others(cases: Sequence[Case], stages: Stages, existing: str) -> None:
    """Raises UsageError for files that would be replaced and that `predict` did not write."""
    files = {path: case.key for case in cases for path in stages.files(case.key)}
    results, damaged = stages.results, existing == "keep"
    others = [
        path
        for path, key in files.items()
        if os.path.lexists(path)
        and not results.is_own(path)
        and not (damaged and results.is_noted(path) and stages.problem(path, key))
    ]
    if not others:
        return
    names = short(", ".join(path.name for path in others[:3]), 300) + (", ..." if len(others) > 3 else "")
    keeping = "" if existing == "keep" else "--continue keeps label maps that are there; "
    raise UsageError(
        f"{len(others)} of {len(files)} files to be written lie in {stages.folder} already, and are not what "
        f"`autoseg predict` wrote there: {names}. Nothing was predicted. Give another -o; {keeping}--overwrite "
        "replaces them"
    )
