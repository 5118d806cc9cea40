"""Validation cases segmented by a classical method, which learned its settings on the training cases of their fold."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from statistics import median
from typing import Any

import numpy as np

from ..changes import value_of
from ..core.channels import channel_numbers
from ..core.evidence import Evidence
from ..core.family import Family
from ..core.files import atomic_file
from ..core.locks import alone
from ..core.machine import available_bytes
from ..core.names import counted, short
from ..core.parallel import ordered_map
from ..core.progress import duration, progress
from ..core.records import from_json, read_json, to_json, write_json
from ..corrections import Correction, corrected
from ..data.dataset import Dataset
from ..data.folds import Fold
from ..data.label_maps import files_in, read_label_map, write_label_map
from ..errors import AutosegError, RecordError, UsageError
from ..evaluation.scores import Summary, summarise
from ..run_folder import BaselineFolder
from ..settings import RunSettings
from ..workspace import DatasetFolder
from .baseline_learning import Lesson, learn, needed, read
from .baseline_view import segmented, values_of
from .evaluate import Scorer, score_pairs
from .validated import is_scored

LOG = logging.getLogger("autoseg")
DEFAULTS: dict[str, Any] = {
    "largest": None,
    "slice_by_slice": False,
    "one_channel": False,
    "candidates": lambda self: (self,),
    "fitted": lambda self, cases: self,
}
"""What a method has that leaves out one of these."""
BASELINES = Family("autoseg.parts.baselines", "Spec", DEFAULTS)
VERSION = 1  # raise it when what is learned, or done with it, changes


@dataclass(frozen=True)
class Asked:
    """What decides what is learned and segmented."""

    method: Any = field(metadata={"family": BASELINES})
    """With the settings that the user chose."""
    channels: tuple[str, ...]
    """That are looked at."""
    train: tuple[str, ...]
    validation: tuple[str, ...]
    files: str
    """Changes with the size or the time of any file of these cases."""
    version: int = VERSION


@dataclass(frozen=True)
class BaselineRecord:
    """``baseline.json``."""

    asked: Asked
    method: Any = field(metadata={"family": BASELINES})
    """With the settings that were learned."""
    labels: tuple[int, ...]
    """Label indices of the numbers that the method gives."""
    telling: tuple[int, ...]
    """Of ``asked.channels``, counted from 0, the one first whose intensities say most about labels."""
    corrections: tuple[Correction, ...]
    tallied: tuple[str, ...]
    """Training cases whose labels were looked at."""
    tried: tuple[str, ...]
    """Training cases on which settings and corrections were tried."""
    learning_seconds: float
    seconds: dict[str, float] = field(default_factory=dict)
    """Of each case that was segmented; grows until all are."""


@dataclass(frozen=True)
class BaselineResult:
    """What `autoseg baseline` has to say."""

    summary: Summary
    """Of the cases of all folds that were asked for."""
    records: dict[str, BaselineRecord]
    """By fold."""
    folders: tuple[BaselineFolder, ...]

    @property
    def told(self) -> str:
        """One line."""
        each = [seconds for record in self.records.values() for seconds in record.seconds.values()]
        learning = duration(sum(record.learning_seconds for record in self.records.values()))
        return f"{counted(len(each), 'case')}, median {median(each):.2g} s a case; learning took {learning}"


def baseline(
    files: DatasetFolder,
    name: str,
    *,
    folds: Sequence[str] | None = None,
    channels: Sequence[str] = (),
    changes: Sequence[str] = (),
    settings: RunSettings | None = None,
) -> BaselineResult:
    """Segments and scores the validation cases of each fold, by what its training cases alone have taught.

    ``folds`` None takes all, so that every case is segmented; ``channels`` are names or numbers of those to look at,
    none for all; ``changes`` are settings of the method, which are then not learned. What earlier calls have done is
    kept where they were asked for the same. Raises UsageError, DatasetError, WorkspaceError or UnknownPartError.
    """
    settings = settings or RunSettings()
    method = with_settings(BASELINES.load(name, files.trusted)(), changes)
    dataset, splits = files.read_dataset(), files.read_folds()
    splits.refuse_unknown(dataset.keys, files.folds)
    seen = sorted(set(channel_numbers(channels, dataset.channels, "--channel"))) or [*range(len(dataset.channels))]
    numbers = list(folds or map(str, range(len(splits.folds))))
    chosen = {number: splits.named(number) for number in numbers}
    if not chosen or not all(split.validation for split in chosen.values()):
        raise UsageError("a baseline is scored on validation cases, of which this dataset has none in these folds")
    LOG.info("%s: %s", name, _described(method, [dataset.channels[channel] for channel in seen]))
    records, scores = {}, []
    for number, split in chosen.items():
        folder = files.baseline(name, number)
        with alone(folder.lock, "baseline"):
            run = _Run(folder, method, dataset, split, tuple(seen), splits.patients, settings.threads)
            records[number] = run.segmented(f"{name} fold_{number}")
            scores.append(run.scored())
    summary = scores[0] if len(scores) == 1 else _pooled(scores, splits.patients)
    return BaselineResult(summary, records, tuple(files.baseline(name, number) for number in chosen))


def with_settings(method: Any, changes: Sequence[str]) -> Any:
    """The method with ``FIELD=VALUE`` for each. Raises UsageError."""
    record = to_json(method)
    open_ = [each.name for each in fields(method) if not each.metadata.get("learned")]
    for change in changes:
        name, equals, text = (word.strip() for word in change.partition("="))
        if not equals or name not in open_:
            known = ", ".join(open_)
            raise UsageError(f"--set {short(change)!r}: write FIELD=VALUE; this method has the fields {known}")
        record[name] = value_of(text)
    try:
        return from_json(type(method), record, where="--set")
    except RecordError as error:
        raise UsageError(str(error)) from None


def _described(method: Any, channels: Sequence[str]) -> str:
    how = "slice by slice" if method.slice_by_slice else "whole volumes"
    one = len(channels) > 1 and method.one_channel
    which = f"the most telling of the channels {', '.join(channels)}" if one else f"channels: {', '.join(channels)}"
    place = "intensities alone" if method.largest is None else "intensities, and where labels lay in training cases"
    return f"{how}; {which}; {place}"


@dataclass(frozen=True)
class _Run:
    """One fold."""

    folder: BaselineFolder
    method: Any
    dataset: Dataset
    split: Fold
    channels: tuple[int, ...]
    patients: dict[str, str]
    threads: int

    def segmented(self, title: str) -> BaselineRecord:
        """Learns and segments what is not there yet."""
        record, evidence = self._learned()
        todo = [key for key in self.split.validation if not self._is_there(key, record)]
        if todo and self.folder.scores.exists():
            self.folder.scores.unlink()
        lesson = Lesson(record.method, evidence, record.telling, record.corrections, record.tallied, record.tried)
        segment = partial(self._segment, lesson=lesson)
        taken = partial(needed, dataset=self.dataset, channels=len(self.channels), method=self.method)
        done = ordered_map(segment, todo, self.threads, 0, size=taken, room=available_bytes() / 2)
        for key, seconds in zip(todo, progress(done, len(todo), title)):
            record.seconds[key] = float(f"{seconds:.3g}")
            write_json(self.folder.record, record, durable=False, sealed=True)
        return record

    def scored(self) -> Summary:
        """As a training scores its validation cases."""
        folder, keys = self.folder.validation, self.split.validation
        if is_scored(self.folder, keys):
            return read_json(self.folder.scores, Summary)
        pairs = {key: (self.dataset.case(key).label_files, self._files(key)) for key in keys}
        return score_pairs(pairs, Scorer(self.dataset.labels), folder, patients=self.patients, workers=self.threads)

    def _learned(self) -> tuple[BaselineRecord, Evidence]:
        """What an earlier call has learned of the same cases; else it is learned now, and its label maps go."""
        keys = (*self.split.train, *self.split.validation)
        names = tuple(self.dataset.channels[channel] for channel in self.channels)
        asked = Asked(self.method, names, self.split.train, self.split.validation, _stamp(self.dataset, keys))
        if self.folder.record.exists() and self.folder.evidence.exists():
            try:
                record = read_json(self.folder.record, BaselineRecord, self.folder.trusted)
                if record.asked == asked:
                    return record, _read_evidence(self.folder, record.labels)
                LOG.info("%s was asked for other settings, channels or cases: it is done anew", self.folder.root)
            except RecordError as error:
                LOG.warning("%s; it is learned anew", error)
        self.folder.record.unlink(missing_ok=True)  # first: it is not of what is learned now
        shutil.rmtree(self.folder.validation, ignore_errors=True)
        start = time.perf_counter()
        lesson = learn(self.method, self.dataset, self.split.train, self.channels, self.threads)
        seconds = float(f"{time.perf_counter() - start:.3g}")
        with atomic_file(self.folder.evidence) as temporary, temporary.open("wb") as file:
            arrays = {name: getattr(lesson.evidence, name) for name in ("brightness", "places", "sizes")}
            np.savez(file, **arrays)
        record = BaselineRecord(
            asked,
            lesson.method,
            lesson.evidence.indices,
            lesson.telling,
            lesson.corrections,
            lesson.tallied,
            lesson.tried,
            seconds,
        )
        write_json(self.folder.record, record, sealed=True)
        return record, lesson.evidence

    def _is_there(self, key: str, record: BaselineRecord) -> bool:
        if key not in record.seconds:
            return False
        try:
            self.dataset.labels.encode(read_label_map(self._files(key), self.dataset.labels)[0])
        except (AutosegError, OSError) as error:
            LOG.warning("case %s: %s; it is segmented again", key, error)
            return False
        return True

    def _segment(self, key: str, *, lesson: Lesson) -> float:
        """Seconds that it took, with reading and writing."""
        start, labels, case = time.perf_counter(), self.dataset.labels, self.dataset.case(key)
        view = read(case, self.dataset, self.channels)
        indices = segmented(view, lesson.method, lesson.evidence, lesson.telling)
        label_map = corrected(values_of(labels)[indices], lesson.corrections, labels, view.geometry)
        write_label_map(label_map, view.geometry, self._files(key), labels, case.grid_file(self.dataset.alignment))
        return time.perf_counter() - start

    def _files(self, key: str) -> Any:
        return files_in(self.folder.validation, key, self.dataset.file_ending, self.dataset.labels)


def _read_evidence(folder: BaselineFolder, labels: tuple[int, ...]) -> Evidence:
    """Raises RecordError for a file that is damaged."""
    try:
        with np.load(folder.evidence, allow_pickle=False) as held:
            found = Evidence(labels, held["brightness"], held["places"], held["sizes"])
    except Exception as error:
        raise RecordError(f"{folder.evidence} cannot be read ({short(str(error))})") from None
    if not len(found.brightness) == len(found.places) == len(found.sizes) == len(labels):
        raise RecordError(f"{folder.evidence} is of other labels than {folder.record}")
    return found


def _stamp(dataset: Dataset, keys: Sequence[str]) -> str:
    files = [str(file) for key in keys for file in dataset.case(key).files]
    found = []
    for file in files:
        told = os.stat(file) if os.path.exists(file) else None
        found.append((file, told.st_size, told.st_mtime_ns) if told else (file, 0, 0))
    return hashlib.sha256(json.dumps([to_json(dataset.labels), found]).encode()).hexdigest()[:24]


def _pooled(summaries: Sequence[Summary], patients: dict[str, str]) -> Summary:
    cases = {
        key: {
            label: {metric: math.nan if value is None else value for metric, value in row.items()}
            for label, row in case.items()
        }
        for summary in summaries
        for key, case in summary.cases.items()
    }
    return summarise(cases, patients=patients)
