"""`autoseg demo`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from . import _flags, _options

HELP = "the whole pipeline on a small dataset that it generates itself"
EXAMPLES = (
    "autoseg demo",
    "autoseg demo my_demo --device cpu",
)


def add_flags(command: ArgumentParser) -> None:
    command.add_argument(
        "folder", nargs="?", type=_flags.path, default=Path("autoseg_demo"), help="where (default: %(default)s)"
    )
    _flags.add_machine(command)
    _flags.add_report(command)


def run(options: Namespace) -> None:
    from ..core.files import refuse_unwritable
    from ..pipeline import demo as story
    from ..reporting.story import predictions_report_after

    refuse_unwritable(options.folder)
    settings = _options.settings(options)
    said = story.demo(options.folder, settings=settings)
    if make_page := _options.report_at_end(options, story.files_of(options.folder)):
        make_page()
        predictions_report_after(story.predictions_of(options.folder), settings.threads)
    options.console.result(said, folder=options.folder, text=said.splitlines())
