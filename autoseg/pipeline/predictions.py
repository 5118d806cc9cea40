"""``predictions.json`` in a folder of predictions: where their images lie and what is known of the model, so that
`autoseg report` can tell about them later; and the table ``quality.csv`` beside it."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..alignment.record import Alignment
from ..core.dice_line import DiceLine
from ..core.labels import Labels
from ..core.records import read_json, write_json
from ..data.dataset import Case
from ..data.training_ranges import TrainingRanges
from ..errors import RecordError, UsageError
from ..evaluation.quality_table import QUALITY, Quality, QualityTable, add_case, read_quality, write_quality
from .results import Results

if TYPE_CHECKING:  # what a page reads needs no network
    from ..inference.outputs.agreement import Agreement
    from ..inference.predictor import Predictor
    from .model_quality import ModelQuality

LOG = logging.getLogger("autoseg")
PREDICTIONS = "predictions.json"


@dataclass(frozen=True)
class Predictions:
    """What was predicted in a folder, by which model."""

    model: str
    """Its name."""
    networks: int
    """Whose mean is predicted."""
    channels: tuple[str, ...]
    labels: Labels
    file_ending: str
    alignment: Alignment | None
    cases: tuple[Case, ...]
    """With the files of their images."""
    lines: dict[str, DiceLine]
    """As in ``ModelQuality``."""
    training: TrainingRanges | None
    version: int = 1


def refuse_others(results: Results, existing: str) -> None:
    """Raises UsageError for files of these names that `predict` did not write and is not to ``replace``."""
    for name in (QUALITY, PREDICTIONS):
        path = results.folder / name
        if existing != "replace" and os.path.lexists(path) and not results.is_own(path):
            raise UsageError(
                f"{path} is not what `autoseg predict` wrote there. Nothing was predicted. Give another -o; "
                "--overwrite replaces it"
            )


def write_predictions(results: Results, model: Predictor[Any], cases: Sequence[Case], quality: ModelQuality) -> None:
    """Writes the record, with the cases of earlier runs into the same folder."""
    path, task = results.folder / PREDICTIONS, model.task
    every: dict[str, Case] = {}
    if results.is_own(path):
        try:
            every = {case.key: case for case in read_json(path, Predictions).cases}
        except RecordError as error:  # of another version, or a run that was killed while it wrote
            LOG.warning("%s; it is written anew", error)
    every |= {case.key: case for case in cases}
    told = model.trained.manifest if model.trained else None
    networks = sum(len(told.configurations[name]) for name in told.ensemble) if told else 1
    found = Predictions(
        told.name if told else task.name,
        networks,
        task.channels,
        task.labels,
        task.file_ending,
        task.alignment,
        tuple(every[key] for key in sorted(every)),
        quality.lines,
        quality.training,
    )
    results.begin(path)
    write_json(path, found, sealed=True)
    results.end(path)


@dataclass(frozen=True)
class QualityFile:
    """The table of one folder while cases are predicted."""

    path: Path
    lines: Mapping[str, DiceLine]
    results: Results | None
    """None: the folder is autoseg's own."""

    @classmethod
    def begun(cls, folder: Path, lines: Mapping[str, DiceLine], results: Results | None) -> QualityFile:
        """What earlier runs have written stays. A table of nobody else, or one that is damaged, is made anew."""
        path = folder / QUALITY
        if results is not None and os.path.lexists(path) and not results.is_own(path):
            path.unlink()  # `refuse_others` has asked
        there: QualityTable = {}
        if os.path.lexists(path):
            try:
                there = read_quality(path, unfinished=True)
            except RecordError as error:
                LOG.warning("%s; it is written anew, without the cases that are not predicted now", error)
        if results is not None:
            results.begin(path)
        write_quality(path, there)
        return cls(path, lines, results)

    def add(self, case: str, found: Mapping[str, Agreement]) -> None:
        """Of a case whose label map is written next."""
        rows = {}
        for label, each in found.items():
            line = self.lines.get(label)
            predicted = None if line is None else line.dice(each.expected_dice)
            rows[label] = Quality(each.expected_dice, each.fold_dice, predicted)
        add_case(self.path, case, rows)

    def end(self) -> None:
        """By case, each once."""
        try:
            write_quality(self.path, read_quality(self.path))
            if self.results is not None:
                self.results.end(self.path)
        except (RecordError, OSError) as error:
            LOG.warning("%s; the label maps are there all the same", error)
