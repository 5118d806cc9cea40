"""What happens to a case that is predicted: it is prepared, predicted and written, each in a thread of its own."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from ..alignment.grids import bytes_beside
from ..core import process
from ..core.clock import Clock
from ..core.masks import MaskLabels
from ..core.parallel import ordered_map
from ..core.progress import Reached
from ..data.dataset import Case
from ..data.images import read_case
from ..inference.accumulator import Space
from ..inference.attempt import Attempt
from ..inference.memory import Gate
from ..inference.modality import placed
from ..inference.options import PredictOptions
from ..inference.outputs import AGREEMENT, LABEL_MAP, Output, Outputs, paths
from ..inference.prediction import Prediction
from ..inference.predictor import Predictor, Prepared
from ..parts.readers import read_header, refuse_unwritable
from ..preprocessing.estimates import NOT_KEPT, Estimates
from ..settings import resolve
from .predictions import QualityFile
from .results import Results

LOG = logging.getLogger("autoseg")
Out = TypeVar("Out")
MANY = 4  # cases per thread; with fewer, threads would have nothing to do at the end


@dataclass(frozen=True)
class Stages:
    """The stages, for all cases of one run."""

    model: Predictor[Any]
    folder: Path
    options: PredictOptions
    outputs: Outputs
    gate: Gate
    results: Results
    """What earlier runs wrote into ``folder``."""
    cases: Mapping[str, Case]
    recorded: bool = True
    """Whether what is written is noted in ``results``."""
    withheld: tuple[int, ...] = ()
    """Channels that no network gets to see, counted from 0, although cases have them."""
    estimates: Mapping[str, Estimates] | None = None
    """Case to where what its filters find slowly is kept."""
    quality: QualityFile | None = None
    """Where agreement is noted; None: it is not measured."""
    stopped: threading.Event = field(default_factory=threading.Event)
    clocks: dict[str, Clock] = field(default_factory=dict)
    """Of the cases that are under way."""
    ended: set[str] = field(default_factory=set)
    """Cases that were written or have failed."""

    def target(self, key: str) -> Path:
        """The label map, or the first mask."""
        return paths(self.outputs[LABEL_MAP], self.folder, key, self.model.task)[0]

    def files(self, key: str) -> list[Path]:
        """What is written for a case, in this order."""
        return [path for _, output in self._in_order() for path in paths(output, self.folder, key, self.model.task)]

    def image(self, key: str) -> Path:
        """That of a case whose header's grid label maps get."""
        return self.cases[key].grid_file(self.model.task.alignment)

    def finished(self, key: str) -> bool:
        """Whether an earlier run wrote all that is wanted, and it can still be used; says so where it cannot."""
        files = self.files(key)
        if not all(map(os.path.lexists, files)):
            return False
        problem = next(filter(None, (self.problem(path, key) for path in files)), None)
        if problem:
            LOG.warning("case %s: %s; it is predicted again", key, problem)
        return problem is None

    def problem(self, path: Path, key: str) -> str | None:
        """Why an earlier result for the case cannot be kept; None where it can."""
        labels = self.model.task.labels
        channels = labels.heads if isinstance(labels, MaskLabels) and labels.in_channels else 1
        return self.results.problem(path, self.image(key), channels)

    def prepared(self, case: Case) -> Attempt[Any]:
        """Waits until memory suffices for the case, which is judged by its header, then reads it."""
        attempt = Attempt(case.key, case, self.clocks.setdefault(case.key, Clock(self.stopped)))
        weighed = attempt.then("read", self._needed)
        if weighed.result is not None:
            self.gate.enter(case.key, weighed.result)
        with self._leaving(case.key) as through:
            task = self.model.task
            read = weighed.then("read", lambda _: read_case(case, task.alignment).without(self.withheld))
            kept = (self.estimates or {}).get(case.key, NOT_KEPT)
            prepared = through(
                read.then("prepare", lambda image: self.model.prepare(placed(image, task, case.key), estimates=kept))
            )
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
            needed, budget = self.model.need(case.geometry, self.outputs, options=self.options), self.gate.budget
            _share_threads(self.model.settings.threads, min(workers, budget // max(1, needed.total(budget))))
            for path in self._streamed(attempt.key):
                self._begin(path)
            return self.model.decide(
                case,
                self.options,
                self.outputs,
                case=self.cases[attempt.key],
                folder=self.folder,
                space=Space(needed.room(budget), self.folder),
                clock=attempt.clock,
            )

        with self._leaving(attempt.key) as through:
            return through(attempt.then("network", decided))

    def written(self, attempt: Attempt[Prediction]) -> Attempt[Path]:
        """The label map comes last: where it exists, the case is finished. Streamed outputs are completed after it."""

        def write(prediction: Prediction) -> Path:
            if self.quality is not None:
                self.quality.add(attempt.key, prediction.results[AGREEMENT])
            for name, output in self._in_order():
                files = paths(output, self.folder, attempt.key, self.model.task)
                for path in files if not output.streamed else ():
                    self._begin(path)
                output.write(prediction.results[name], prediction)
                for path in files if self.recorded else ():
                    self.results.end(path)
            return self.target(attempt.key)

        try:
            return attempt.then("write", write)
        finally:
            self._leave(attempt.key)
            process.give_back_freed(above=self.gate.budget // 2)

    def _in_order(self) -> list[tuple[str, Output]]:
        """Names and outputs as they are written."""
        return sorted(self.outputs.items(), key=lambda item: (item[1].streamed, item[0] == LABEL_MAP))

    def _streamed(self, key: str) -> list[Path]:
        """Files that are written while slabs come."""
        streamed = [output for output in self.outputs.values() if output.streamed]
        return [path for output in streamed for path in paths(output, self.folder, key, self.model.task)]

    def _begin(self, path: Path) -> None:
        if self.recorded:
            self.results.begin(path)

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
                self._leave(key)

    def _leave(self, key: str) -> None:
        self.gate.leave(key)
        self.ended.add(key)
        self.clocks.pop(key, None)

    def reached(self) -> Reached:
        """How far all cases are, by their patches; another thread may ask."""
        clocks = list(self.clocks.values())
        shares = sum(clock.patches / max(1, clock.patches_wanted) for clock in clocks)
        patches = [sum(counts) for counts in zip(*((clock.patches, clock.patches_wanted) for clock in clocks))]
        return Reached(len(self.ended) + shares, "patch {} of {}".format(*patches) if patches and patches[1] else "")

    def _needed(self, case: Case) -> int:
        """Bytes of memory. Raises AutosegError for an image of which no label map could be made or written."""
        key, alignment, image = case.key, self.model.task.alignment, self.image(case.key)
        header = read_header(image)
        refuse_unwritable(self.target(key), header.geometry)
        needed = self.model.need(header.geometry, self.outputs, options=self.options)
        if alignment is not None:
            others = [read_header(path) for path in case.image_files if path != image or alignment.registers]
            needed = replace(needed, reading=needed.reading + bytes_beside(header, others, alignment))
        if needed.least > self.gate.budget:
            gigabytes = (needed.least / 1e9, max(0, self.gate.budget) / 1e9)
            LOG.warning("%s: takes about %.1f GB of memory, but only %.1f GB are left for it", key, *gigabytes)
        return needed.total(self.gate.budget)


def _share_threads(threads: int, workers: int) -> None:
    """Gives this thread its part of torch's threads; setting their number anew would empty caches."""
    share = max(1, threads // max(1, workers))
    if torch.get_num_threads() != share:
        torch.set_num_threads(share)
