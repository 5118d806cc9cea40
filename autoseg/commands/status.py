"""`autoseg status`."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from . import _flags, _options

HELP = "show all trainings of the workspace: progress, time left, best Dice, last error"


def add_flags(command: ArgumentParser) -> None:
    command.add_argument("dataset", type=_flags.word, metavar="DATASET", nargs="?", help="only this one")


def run(options: Namespace) -> None:
    from ..pipeline.status import all_runs, run_table

    workspace = _options.workspace(options)
    lines = all_runs(workspace, _options.dataset_folder(options).root.name if options.dataset else None)
    sys.stdout.write((run_table(lines) if lines else f"no training has begun in {workspace.root}") + "\n")
