"""`autoseg status`."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..core.mishaps import is_ctrl_c
from . import _flags, _options

if TYPE_CHECKING:
    from ..core.console import Console
    from ..pipeline.status import RunLine

CLEAR = "\x1b[H\x1b[J"

HELP = "show all trainings of the workspace: progress, time left, best Dice, last error"
EXAMPLES = (
    "autoseg status",
    "autoseg status Hippocampus --watch",
    "autoseg status --watch 60 --json",
)


def add_flags(command: ArgumentParser) -> None:
    command.add_argument("dataset", type=_flags.word, metavar="DATASET", nargs="?", help="only this one")
    _flags.add_watch(command, 5, "show it again and again, until Ctrl-C")


def run(options: Namespace) -> None:
    from ..pipeline.status import all_runs, run_table

    workspace = _options.workspace(options)
    dataset = _options.dataset_folder(options).root.name if options.dataset else None

    def look() -> tuple[list[RunLine], str]:
        lines = all_runs(workspace, dataset)
        return lines, run_table(lines) if lines else f"no training has begun in {workspace.root}"

    if options.watch is not None:
        lines, text = _watch(options.console, look, options.watch)
    else:
        lines, text = look()
    options.console.result(text, trainings=lines)


def _watch(console: Console, look: Callable[[], tuple[list[RunLine], str]], seconds: int) -> tuple[list[RunLine], str]:
    """Until Ctrl-C. A terminal shows the newest only, anything else one after the other, with the time.

    Returns what is not shown yet: nothing for people.
    """
    lines: list[RunLine] = []
    try:
        while True:
            lines, text = look()
            finished = sum(line.state == "finished" for line in lines)
            console.line("progress", what="trainings", done=finished, total=len(lines), trainings=lines)
            if console.programs is None:
                now = time.strftime("%Y-%m-%d %H:%M:%S")
                sys.stdout.write(f"{CLEAR if sys.stdout.isatty() else ''}{now}\n{text}\n")
                sys.stdout.flush()
            time.sleep(seconds)
    except KeyboardInterrupt as asked:
        if not is_ctrl_c(asked):
            raise
    return lines, ""
