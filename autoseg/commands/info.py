"""`autoseg info`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from ..errors import UsageError
from . import _flags, _options

HELP = "say what a model is: channels, labels, folds, scores, licence"
EXAMPLES = (
    "autoseg info",
    "autoseg info Hippocampus",
    "autoseg info model.zip",
)


def add_flags(command: ArgumentParser) -> None:
    command.add_argument(
        "model",
        nargs="?",
        type=_flags.word,
        metavar="MODEL",
        help="a bundle, an installed model, a dataset, or trained folds (default: list the models there are)",
    )
    _flags.add_configuration(command, "of a dataset: this one, not what was selected")


def run(options: Namespace) -> None:
    if options.model is None:
        return _list(options)
    from ..bundle.card import card
    from ..bundle.trained import read_trained
    from ..model_names import find_model
    from ..pipeline.export_bundle import describe

    path = find_model(options.model, _options.workspace(options), options.configuration)
    trained = read_trained(path, trusted=tuple(options.trust))
    manifest = describe(trained)
    options.console.result(card(trained, manifest), model=path, manifest=manifest)


def _list(options: Namespace) -> None:
    if options.configuration is not None:
        raise UsageError("-c needs MODEL: a dataset of which this configuration was trained")
    from ..pipeline.models import list_models, model_table

    workspace = _options.workspace(options)
    models = list_models(workspace)
    options.console.result(model_table(models, workspace), models=models)
