"""`autoseg report`."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from ..settings import MOST_THREADS
from . import _flags, _options

HELP = "write one HTML page about a dataset (scores of all cases, trainings, images, plan) or about predictions"


def add_flags(command: ArgumentParser) -> None:
    command.add_argument(
        "dataset",
        type=_flags.word,
        metavar="DATASET|RUN|OUT",
        help="a dataset, a folder runs/CONFIGURATION[/fold_0], or one that `predict` wrote",
    )
    command.add_argument(
        "-o", "--output", type=_flags.path, metavar="FILE", help="the page (default: report.html in that folder)"
    )
    command.add_argument("--no-pictures", action="store_true", help="leave out all slices of images")
    command.add_argument(
        "--threads",
        type=_flags.whole(1, MOST_THREADS),
        metavar="N",
        help="processor threads (default: all this process may use)",
    )


def run(options: Namespace) -> None:
    from ..reporting.story import report
    from ..settings import RunSettings

    path = report(
        options.dataset,
        _options.workspace(options),
        output=options.output,
        pictures=not options.no_pictures,
        threads=options.threads or RunSettings().threads,
    )
    sys.stdout.write(f"{path}\n")
