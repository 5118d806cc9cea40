"""`autoseg fingerprint`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from . import _flags, _options

HELP = "check and measure the dataset"


def add_flags(command: ArgumentParser) -> None:
    command.add_argument("dataset", metavar="DATASET")
    _flags.add_machine(command)


def run(options: Namespace) -> None:
    from ..pipeline import plan_and_preprocess as story

    settings = _options.settings(options)
    story.fingerprint(_options.raw_folder(options), _options.workspace(options), settings=settings)
