"""``predictions.json`` in a folder of predictions: where their images lie and what is known of the model, so that
`autoseg report` can tell about them later; and the table ``quality.csv`` beside it."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..alignment.record import Alignment
from ..core.dice_line import DiceLine
from ..core.labels import Labels
from ..core.locks import alone
from ..core.names import short
from ..core.records import read_json, write_json
from ..data.dataset import Case
from ..data.training_ranges import TrainingRanges
from ..errors import RecordError, UsageError
from ..evaluation.quality_table import QUALITY, Quality, QualityTable, add_case, read_quality, write_quality
from ..parts.readers import label_ending
from .results import Results

if TYPE_CHECKING:  # what a page reads needs no network
    from ..inference.outputs.agreement import Agreement
    from ..inference.predictor import Predictor
    from .model_quality import ModelQuality

LOG = logging.getLogger("autoseg")
PREDICTIONS = "predictions.json"
LOCK = ".predict.lock"  # of both files: several runs may write into one folder


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

    def __post_init__(self) -> None:
        label_ending(self.file_ending)


def refuse_others(results: Results, existing: str) -> None:
    """Raises UsageError for files of these names that `predict` did not write and is not to ``replace``."""
    for name in (QUALITY, PREDICTIONS):
        path = results.folder / name
        if existing != "replace" and os.path.lexists(path) and not _is_own(results, path):
            raise UsageError(
                f"{path} is not what `autoseg predict` wrote there. Nothing was predicted. Give another -o; "
                "--overwrite replaces it"
            )


def write_predictions(results: Results, model: Predictor[Any], cases: Sequence[Case], quality: ModelQuality) -> None:
    """Writes the record, with the cases that this model predicted earlier into the same folder."""
    path, task = results.folder / PREDICTIONS, model.task
    told = model.trained.manifest if model.trained else None
    networks = sum(len(told.configurations[name]) for name in told.ensemble) if told else 1
    found = Predictions(
        told.name if told else task.name,
        networks,
        task.channels,
        task.labels,
        task.file_ending,
        task.alignment,
        tuple(cases),
        quality.lines,
        quality.training,
    )
    with alone(results.folder / LOCK, "predict"):
        now = Results.read(results.folder)  # another run may have written there
        every = {case.key: case for case in (*_earlier(now, path, found), *cases)}
        now.begin(path)
        write_json(path, replace(found, cases=tuple(every[key] for key in sorted(every))), sealed=True)
        now.end(path)


def _earlier(results: Results, path: Path, now: Predictions) -> tuple[Case, ...]:
    """The cases of the record at ``path`` where it is of the same model; others are told and left out."""
    if not results.is_own(path):
        return ()
    try:
        found = read_json(path, Predictions)
    except RecordError as error:  # of another version, or a run that was killed while it wrote
        LOG.warning("%s; it is written anew", error)
        return ()
    if (found.model, found.labels, found.channels) == (now.model, now.labels, now.channels):
        return found.cases
    keys = {case.key for case in now.cases}
    if others := [case.key for case in found.cases if case.key not in keys]:
        shown = short(", ".join(others[:3]), 200) + (", ..." if len(others) > 3 else "")
        LOG.warning(
            "%s lists no longer what another model, %s, predicted into this folder (%s); give each model an -o of its "
            "own",
            path,
            found.model,
            shown,
        )
    return ()


def _is_own(results: Results, path: Path) -> bool:
    """Whether `predict` wrote ``path``, or another run went on with the table of one that has ended."""
    if results.is_own(path):
        return True
    if path.name != QUALITY or not results.is_noted(path) or path.is_symlink():
        return False
    try:
        return bool(read_quality(path, unfinished=True))
    except RecordError:
        return False


@dataclass(frozen=True)
class QualityFile:
    """The table of one folder while cases are predicted."""

    path: Path
    lines: Mapping[str, DiceLine]
    results: Results | None
    """None: the folder is autoseg's own."""

    @classmethod
    def begun(cls, folder: Path, lines: Mapping[str, DiceLine], results: Results | None) -> QualityFile:
        """What earlier runs have written stays. A table of somebody else, or one that is damaged, is made anew."""
        found = cls(folder / QUALITY, lines, results)
        with found._alone():
            if results is not None:
                now = Results.read(results.folder)  # another run may have written there
                if os.path.lexists(found.path) and not _is_own(now, found.path):
                    found.path.unlink()  # `refuse_others` has asked
                now.begin(found.path)
            write_quality(found.path, found._there())
        return found

    def add(self, case: str, found: Mapping[str, Agreement]) -> None:
        """Of a case whose label map is written next."""
        rows = {}
        for label, each in found.items():
            line = self.lines.get(label)
            predicted = None if line is None else line.dice(each.expected_dice)
            rows[label] = Quality(each.expected_dice, each.fold_dice, predicted)
        with self._alone():
            add_case(self.path, case, rows)

    def end(self) -> None:
        """By case, each once."""
        try:
            with self._alone():
                write_quality(self.path, read_quality(self.path))
                if self.results is not None:
                    self.results.end(self.path)
        except (RecordError, OSError) as error:
            LOG.warning("%s; the label maps are there all the same", error)

    def _there(self) -> QualityTable:
        """What earlier runs have written."""
        if not os.path.lexists(self.path):
            return {}
        try:
            return read_quality(self.path, unfinished=True)
        except RecordError as error:
            LOG.warning("%s; it is written anew, without the cases that are not predicted now", error)
            return {}

    def _alone(self) -> AbstractContextManager[None]:
        """Other runs into the same folder wait: rows that they add while the table is replaced would be lost."""
        return nullcontext() if self.results is None else alone(self.path.with_name(LOCK), "predict")
