"""Several folds at once, each in a process of its own on a device of its own."""

from __future__ import annotations

import logging
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO

from ..core.progress import duration
from ..errors import StoppedError, TrainingError
from ..plan import Plan
from ..training.signals import signals
from .train_fold import FoldRun

LOG = logging.getLogger("autoseg")
SECONDS_BETWEEN_LOOKS = 0.2
LINES_OF_A_FAILURE = 3


@dataclass(frozen=True)
class FoldProcesses:
    """Runs folds as commands, one on each device at any time."""

    devices: tuple[str, ...]
    command: Callable[[FoldRun, str], list[str]]
    """The words of the command that trains the fold on the device."""
    planning: Callable[[Plan, str], list[str]]
    """The words of the command that makes a plan of a draft by measuring the device."""

    def plan(self, draft: Plan) -> None:
        """Makes a plan of ``draft`` in a process of its own: nothing of it stays in the device's memory.

        Raises TrainingError when that fails.
        """
        LOG.info("%s is a draft: the plan is made by measuring %s", draft.dataset, self.devices[0])
        words = self.planning(draft, self.devices[0])
        if subprocess.run(words, stdin=subprocess.DEVNULL, check=False).returncode:
            raise TrainingError("planning has failed, as said above")

    def __call__(self, runs: Sequence[FoldRun]) -> None:
        """Returns when all have ended.

        Raises TrainingError when some have failed, once the others have finished; StoppedError when this process was
        asked to stop, once all have saved.
        """
        waiting, free, failed = deque(runs), deque(self.devices), []
        running: list[_Running] = []
        with signals() as asked, ExitStack() as stack:
            stack.callback(_kill, running)  # after a second Ctrl-C, or an error of our own
            while running or (waiting and not asked.stop.is_set()):
                while waiting and free and not asked.stop.is_set():
                    running.append(self._started(waiting.popleft(), free.popleft(), stack))
                time.sleep(SECONDS_BETWEEN_LOOKS)
                if asked.stop.is_set():
                    _pass_on(running)
                for each in [each for each in running if each.process.poll() is not None]:
                    running.remove(each)
                    free.append(each.device)
                    if not each.ended_well():
                        failed.append(each.run.name)
        if asked.stop.is_set():
            raise StoppedError("stopped; to go on, run the same command again")
        if failed:
            raise TrainingError(
                f"{', '.join(failed)} failed, as said above; to try again, run the same command again. "
                f"The other {len(runs) - len(failed)} have finished"
            )

    def _started(self, run: FoldRun, device: str, stack: ExitStack) -> _Running:
        said = stack.enter_context(tempfile.TemporaryFile())
        LOG.info("%s begins on %s; `autoseg status` shows it, its log is %s", run.name, device, run.folder.log)
        process = subprocess.Popen(
            self.command(run, device),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            start_new_session=True,  # a terminal's Ctrl-C reaches this process only, which passes it on, once
        )
        return _Running(run, device, process, said, time.monotonic())


@dataclass
class _Running:
    """Mutable: one process."""

    run: FoldRun
    device: str
    process: subprocess.Popen[bytes]
    said: IO[bytes]
    began: float
    told: bool = False
    """Whether it was told to stop."""

    def ended_well(self) -> bool:
        took = duration(time.monotonic() - self.began)
        if self.process.returncode == 0:
            LOG.info("%s has finished after %s", self.run.name, took)
            return True
        if not self.told:
            self.said.seek(0)
            lines = self.said.read().decode(errors="replace").strip().splitlines()[-LINES_OF_A_FAILURE:]
            code = self.process.returncode
            LOG.error("%s failed after %s with exit code %d: %s", self.run.name, took, code, "\n".join(lines))
        return False


def _kill(running: Sequence[_Running]) -> None:
    for each in running:
        each.process.kill()


def _pass_on(running: Sequence[_Running]) -> None:
    """The request to stop, to each process once: a second one would stop it without saving."""
    for each in running:
        if not each.told:
            each.told = True
            each.process.terminate()
