"""Every training of a workspace: how far, how long still, how good, and what went wrong."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass

from ..core.progress import duration
from ..core.records import read_json
from ..errors import RecordError
from ..evaluation.scores import Summary
from ..run_status import RunStatus, is_held, read_status
from ..workspace import RunFolder, Workspace

SIGN_OF_LIFE = 60.0  # seconds within which a process elsewhere, whose lock is not seen here, has told something
LOST = "{} is missing or damaged; train this fold again, which writes it anew from its last checkpoint"
RUNNING = ("training", "validating")


@dataclass(frozen=True)
class RunLine:
    """One training."""

    dataset: str
    configuration: str
    fold: str
    state: str
    """A phase of ``RunStatus``; ``killed`` where a process ended without a word."""
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
        root = workspace.dataset_folder(name).root
        for path in sorted(root.glob("runs/*/fold_*")):
            found.append(_line(name, path.parent.name, RunFolder(path)))
    return found


def _line(dataset: str, configuration: str, folder: RunFolder) -> RunLine:
    told, scored = read_status(folder), _validated(folder)
    phase = told.phase if told else "training" if is_held(folder) else "finished" if folder.finished else "killed"
    if told and phase in RUNNING and not _alive(folder, told):
        phase = "killed"
    lost = phase == "finished" and not folder.finished
    trained = told is not None and phase != "training" and folder.finished
    return RunLine(
        dataset=dataset,
        configuration=configuration,
        fold=folder.root.name.removeprefix("fold_"),
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
    try:
        return read_json(folder.scores, Summary).dice if folder.scores.exists() else None
    except RecordError:
        return None


def table(lines: list[RunLine]) -> str:
    """Aligned text for a terminal; the last errors below it."""
    rows = [["dataset", "configuration", "fold", "state", "trained", "left", "Dice", "last sign"]]
    for line in lines:
        dice = "" if line.dice is None else f"{line.dice:.3f}" if line.validated else f"{line.dice:.3f} (training)"
        rows.append(
            [
                line.dataset,
                line.configuration,
                line.fold,
                line.state,
                "" if line.progress is None else f"{line.progress:.0%}",
                "" if not line.seconds_left else duration(line.seconds_left),
                dice,
                "" if line.updated is None else f"{duration(max(0.0, time.time() - line.updated))} ago",
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows)]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    text += [f"{line.dataset} {line.configuration} fold {line.fold}: {line.error}" for line in lines if line.error]
    if any(line.state in ("killed", "stopped", "failed") for line in lines):
        text.append("what was killed, stopped or has failed goes on when the same command is given again")
    return "\n".join(text)
