"""`autoseg report`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from ..settings import MOST_THREADS
from . import _flags, _options

HELP = "write one HTML page about a dataset (scores of all cases, trainings, images, plan) or about predictions"
EXAMPLES = (
    "autoseg report Hippocampus",
    "autoseg report Hippocampus -o report.html --no-pictures",
    "autoseg report Hippocampus --watch",
    "autoseg report results",
)


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
    _flags.add_watch(command, 30, "while a training runs, write the page again and again; it reloads itself")
    command.add_argument(
        "--threads",
        type=_flags.whole(1, MOST_THREADS),
        metavar="N",
        help="processor threads (default: all this process may use)",
    )


def run(options: Namespace) -> None:
    from ..reporting.story import report
    from ..reporting.watch import watch
    from ..settings import RunSettings

    threads, workspace = options.threads or RunSettings().threads, _options.workspace(options)
    pictures, output = not options.no_pictures, options.output
    if options.watch is None:
        path = report(options.dataset, workspace, output=output, pictures=pictures, threads=threads)
    else:
        every = options.watch
        path = watch(options.dataset, workspace, every, output=output, pictures=pictures, threads=threads)
    options.console.result(f"{path}", file=path)
