"""`autoseg info`."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from . import _flags, _options

HELP = "say what a model is: channels, labels, folds, scores, licence"


def add_flags(command: ArgumentParser) -> None:
    command.add_argument(
        "model", type=_flags.word, metavar="MODEL", help="a bundle, an installed model, a dataset, or trained folds"
    )
    _flags.add_configuration(command, "of a dataset: this one, not what was selected")


def run(options: Namespace) -> None:
    from ..bundle.card import card
    from ..bundle.trained import read_trained
    from ..model_names import find_model
    from ..pipeline.export_bundle import describe

    path = find_model(options.model, _options.workspace(options), options.configuration)
    trained = read_trained(path, trusted=tuple(options.trust))
    sys.stdout.write(card(trained, describe(trained)) + "\n")
