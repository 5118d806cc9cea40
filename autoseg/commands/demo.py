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


def run(options: Namespace) -> None:
    from ..core.files import refuse_unwritable
    from ..pipeline import demo as story

    refuse_unwritable(options.folder)

    said = story.demo(options.folder, settings=_options.settings(options))
    options.console.result(said, folder=options.folder, text=said.splitlines())
