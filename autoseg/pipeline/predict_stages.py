"""What happens to a case that is predicted: it is prepared, predicted and written, each in a thread of its own."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch

from ..core import process
from ..core.clock import Clock
from ..core.geometry import Geometry, Image
from ..core.parallel import ordered_map
from ..data.dataset import Case
from ..errors import ModelError
from ..inference.accumulator import Space
from ..inference.attempt import Attempt
from ..inference.export import Prediction
from ..inference.memory import Gate
from ..inference.options import PredictOptions, Wanted
from ..inference.predictor import Predictor, Prepared
from ..inference.stored_probabilities import ENDING as KEPT_ENDING
from ..inference.stored_probabilities import note_label_map, stored_problem
from ..parts.readers import read_header, read_image, refuse_unwritable, write_channels, write_labels
from ..settings import resolve
from .results import Results

LOG = logging.getLogger("autoseg")
Out = TypeVar("Out")
PROBABILITY_ENDING = ".nii.gz"  # holds channels of any type, whatever the images were
MANY = 4  # cases per thread; with fewer, threads would have nothing to do at the end


@dataclass(frozen=True)
class Stages:
    """The stages, for all cases of one run."""

    model: Predictor[Any]
    output: Path
    options: PredictOptions
    probabilities: str | None
    keep: Path | None
    gate: Gate
    results: Results
    """What earlier runs wrote into ``output``."""
    sources: Mapping[str, Path]
    """The first image of every case: label maps get the grid of its header."""
    stopped: threading.Event = field(default_factory=threading.Event)

    def target(self, key: str) -> Path:
        """The label map. Raises ModelError where it would not lie in the output folder."""
        path = self.output / f"{key}{self.model.task.file_ending}"
        if path.parent != self.output or ".." in path.name:
            raise ModelError(f"the label map of {key} would be written outside {self.output}; no such model is used")
        return path

    def kept(self, key: str) -> Path | None:
        """The probabilities in little space."""
        return self.keep / f"{key}{KEPT_ENDING}" if self.keep else None

    def files(self, key: str) -> list[Path]:
        """What is written into the output folder, the label map last."""
        beside = [self._probabilities(key)] if self.probabilities else []
        return [*beside, self.target(key)]

    def finished(self, key: str) -> bool:
        """Whether an earlier run wrote all that is wanted, and it can still be used; says so where it cannot."""
        kept = self.kept(key)
        if kept is not None:
            problem = stored_problem(kept, self.target(key))
        elif all(map(os.path.lexists, self.files(key))):
            problems = (self.results.problem(path, self.sources[key]) for path in self.files(key))
            problem = next(filter(None, problems), None)
        else:
            problem = ""
        if problem:
            LOG.warning("case %s: %s; it is predicted again", key, problem)
        return problem is None

    def prepared(self, case: Case) -> Attempt[Any]:
        """Waits until memory suffices for the case, which is judged by its header, then reads it."""
        attempt = Attempt(case.key, case, Clock(self.stopped))
        weighed = attempt.then("read", lambda case: self._needed(case.key, read_header(Path(case.images[0])).geometry))
        if weighed.result is not None:
            self.gate.enter(case.key, weighed.result)
        with self._leaving(case.key) as through:
            prepared = through(weighed.then("read", lambda _: _read(case)).then("prepare", self.model.prepare))
        process.give_back_freed(above=self.gate.budget // 2)
        return prepared

    def all_written(self, cases: Iterable[Attempt[Any]], count: int) -> Iterator[Attempt[Path]]:
        """All of ``count`` cases in order.

        Where there are many, a processor works on as many at once as it has threads, each by itself: threads that share
        the arithmetic of one case wait for each other a tenth of the time, more where another program wants a core.

        Asking ``cases`` for the next one may wait at the gate for any earlier one. So whatever was asked for is written
        without another question: by the thread that predicts it, or by one that only writes.
        """
        threads = self.model.settings.threads
        processor = resolve(self.model.settings).device.type == "cpu"
        workers = threads if processor and count >= MANY * threads else 1
        if workers == 1:
            yield from ordered_map(self.written, (self.predicted(attempt, workers) for attempt in cases), workers=1)
            return
        try:
            through = ordered_map(
                lambda attempt: self.written(self.predicted(attempt, workers)), cases, workers, 0, self.stopped
            )
            yield from through
        finally:
            torch.set_num_threads(threads)  # also for threads that begin later

    def predicted(self, attempt: Attempt[Any], workers: int) -> Attempt[Prediction]:
        """``workers`` cases are predicted at once, as far as memory allows."""

        def decided(case: Prepared) -> Prediction:
            needed, budget = self.model.need(case.geometry), self.gate.budget
            _share_threads(self.model.settings.threads, min(workers, budget // max(1, needed.total(budget))))
            space = Space(needed.room(budget), self.output)
            wanted = Wanted(self.probabilities, self.output, self.kept(attempt.key))
            return self.model.decide(case, self.options, wanted, space=space, clock=attempt.clock)

        with self._leaving(attempt.key) as through:
            return through(attempt.then("network", decided))

    def written(self, attempt: Attempt[Prediction]) -> Attempt[Path]:
        """The label map comes last: where it exists, the case is finished. Where probabilities are kept, their record
        says so."""

        def write(prediction: Prediction) -> Path:
            source, target = self.sources[attempt.key], self.target(attempt.key)
            if chances := prediction.probabilities:
                with self._noted(self._probabilities(attempt.key)) as beside:
                    write_channels(chances.stored, prediction.geometry, beside, chances.scale, like=source)
            with self._noted(target):
                write_labels(prediction.labels, prediction.geometry, target, like=source)
            if kept := self.kept(attempt.key):
                note_label_map(kept, target)
            return target

        try:
            return attempt.then("write", write)
        finally:
            self.gate.leave(attempt.key)
            process.give_back_freed(above=self.gate.budget // 2)

    @contextmanager
    def _noted(self, path: Path) -> Iterator[Path]:
        """What is written inside is noted as ours. Kept probabilities have records of their own."""
        if self.keep is not None:
            yield path
            return
        self.results.begin(path)
        yield path
        self.results.end(path)

    def _probabilities(self, key: str) -> Path:
        return self.output / "probabilities" / f"{key}{PROBABILITY_ENDING}"

    @contextmanager
    def _leaving(self, key: str) -> Iterator[Callable[[Attempt[Out]], Attempt[Out]]]:
        """Yields what lets the attempt through. A case that does not get through a stage, for whatever reason, holds no
        memory any more and leaves the gate at once: others may wait for it."""
        inside = False

        def through(attempt: Attempt[Out]) -> Attempt[Out]:
            nonlocal inside
            inside = attempt.result is not None
            return attempt

        try:
            yield through
        finally:
            if not inside:
                self.gate.leave(key)

    def _needed(self, key: str, geometry: Geometry) -> int:
        """Bytes of memory. Raises AutosegError for an image of which no label map could be made or written."""
        refuse_unwritable(self.target(key), geometry)
        needed = self.model.need(geometry)
        if needed.least > self.gate.budget:
            gigabytes = (needed.least / 1e9, max(0, self.gate.budget) / 1e9)
            LOG.warning("%s: takes about %.1f GB of memory, but only %.1f GB are left for it", key, *gigabytes)
        return needed.total(self.gate.budget)


def _share_threads(threads: int, workers: int) -> None:
    """Gives this thread its part of torch's threads; setting their number anew would empty caches."""
    share = max(1, threads // max(1, workers))
    if torch.get_num_threads() != share:
        torch.set_num_threads(share)


def _read(case: Case) -> Image:
    return read_image([Path(path) for path in case.images])
