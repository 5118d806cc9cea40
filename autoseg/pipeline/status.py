"""Every training of a workspace: how far, how long still, how good, and what went wrong."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass

from ..core.names import short
from ..core.progress import duration
from ..core.records import read_json
from ..errors import AutosegError, RecordError
from ..evaluation.scores import Summary
from ..run_folder import RunFolder
from ..run_status import RunStatus, is_held
from ..workspace import DatasetFolder, Workspace

SIGN_OF_LIFE = 60.0  # seconds within which a process elsewhere, whose lock is not seen here, has told something
LONGEST_ERROR = 5000  # characters shown of one: a table of problems is long
LOST = "{} is missing or damaged; train this fold again, which writes it anew from its last checkpoint"
RUNNING = ("training", "validating")


@dataclass(frozen=True)
class RunLine:
    """One training."""

    dataset: str
    configuration: str
    fold: str
    state: str
    """A phase of ``RunStatus``; ``killed`` where a process ended without a word; ``unreadable``."""
    progress: float | None
    """Of training, 0 to 1."""
    seconds_left: float | None
    """Of training; of one that does not run: once it goes on."""
    dice: float | None
    """Of the validated cases; before that the best of the looks during training."""
    validated: bool
    updated: float | None
    """Seconds since 1970."""
    error: str | None


def all_runs(workspace: Workspace, dataset: str | None = None) -> list[RunLine]:
    """Sorted; ``dataset`` is a full name, None takes all."""
    found = []
    for name in [dataset] if dataset else workspace.dataset_names():
        found += runs_of(workspace.dataset_folder(name))
    return found


def runs_of(files: DatasetFolder) -> list[RunLine]:
    """Those of one dataset, sorted."""
    name = files.root.name
    return [_readable_line(name, each, run) for each in files.trained() for run in files.folds_of(each)]


def _readable_line(dataset: str, configuration: str, folder: RunFolder) -> RunLine:
    """Whatever the files of one training hold, the others are shown."""
    try:
        return _line(dataset, configuration, folder)
    except (AutosegError, OSError) as error:
        fold = folder.fold
        return RunLine(dataset, configuration, fold, "unreadable", None, None, None, False, None, str(error))


def _line(dataset: str, configuration: str, folder: RunFolder) -> RunLine:
    told = read_json(folder.status, RunStatus) if folder.status.exists() else None
    scored = _validated(folder)
    phase = told.phase if told else "training" if is_held(folder) else "finished" if folder.finished else "killed"
    if told and phase in RUNNING and not _alive(folder, told):
        phase = "killed"
    lost = phase == "finished" and not folder.finished
    trained = told is not None and phase != "training" and folder.finished
    return RunLine(
        dataset=dataset,
        configuration=configuration,
        fold=folder.fold,
        state=phase,
        progress=1.0 if trained else told.progress if told else None,
        seconds_left=None if trained or told is None else told.seconds_left,
        dice=scored if scored is not None else told.dice if told else None,
        validated=scored is not None,
        updated=told.updated if told else None,
        error=told.error if told and phase == "failed" else LOST.format(folder.weights) if lost else None,
    )


def _alive(folder: RunFolder, told: RunStatus) -> bool:
    elsewhere = told.host != socket.gethostname()
    return is_held(folder) or (elsewhere and time.time() - told.updated < SIGN_OF_LIFE)


def _validated(folder: RunFolder) -> float | None:
    if not folder.scores.exists():
        return None
    dice = read_json(folder.scores, Summary).dice
    if dice < 0 or dice > 1:  # NaN: nothing to score
        raise RecordError(f"{folder.scores}: a Dice lies between 0 and 1")
    return dice


def _printable(text: str) -> str:
    """What a terminal would obey instead of show is shown: a file may have been written by anybody."""
    return "".join(letter if letter.isprintable() or letter == "\n" else repr(letter)[1:-1] for letter in text)


def run_table(lines: list[RunLine]) -> str:
    """Aligned text for a terminal; the last errors below it."""
    rows = [["dataset", "configuration", "fold", "state", "trained", "left", "Dice", "last sign"]]
    for line in lines:
        dice = "" if line.dice is None else f"{line.dice:.3f}" if line.validated else f"{line.dice:.3f} (training)"
        rows.append(
            [
                *map(_printable, (line.dataset, line.configuration, line.fold)),
                line.state,
                "" if line.progress is None else f"{line.progress:.0%}",
                "" if not line.seconds_left else duration(line.seconds_left),
                dice,
                "" if line.updated is None else f"{duration(max(0.0, time.time() - line.updated))} ago",
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows)]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    told = [f"{line.dataset} {line.configuration} fold {line.fold}: {line.error}" for line in lines if line.error]
    text += [short(_printable(words), LONGEST_ERROR) for words in told]
    if any(line.state in ("killed", "stopped", "failed") for line in lines):
        text.append("what was killed, stopped or has failed goes on when the same command is given again")
    return "\n".join(text)
