"""`autoseg evaluate`."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from . import _flags, _options

HELP = "score predictions against a reference"


def add_flags(command: ArgumentParser) -> None:
    command.add_argument("reference", type=_flags.path, metavar="REFERENCE", help="folder of label files (or one file)")
    command.add_argument(
        "predictions", type=_flags.path, metavar="PREDICTIONS", help="folder of label files (or one file)"
    )
    command.add_argument("--labels", type=_flags.path, metavar="JSON", help="dataset.json that names the labels")
    command.add_argument(
        "-o", "--output", type=_flags.path, metavar="OUT", help="folder for scores.csv and scores.json"
    )
    command.add_argument(
        "--tolerance", type=_flags.number(0, 1e6), default=1.0, metavar="MM", help="of the surface Dice (default: 1)"
    )
    _flags.add_patients(command)
    _flags.add_machine(command)


def run(options: Namespace) -> int:
    from ..core.files import refuse_unwritable
    from ..evaluation.scores import score_table
    from ..pipeline import evaluate as story

    if options.output is not None:
        refuse_unwritable(options.output)
    failed: dict[str, str] = {}
    summary = story.evaluate(
        options.reference,
        options.predictions,
        labels=options.labels,
        output=options.output,
        failed=failed,
        tolerance=options.tolerance,
        group=options.group,
        group_file=options.group_file,
        workers=_options.settings(options).threads,
    )
    sys.stdout.write(score_table(summary) + "\n")
    return 1 if failed else 0
