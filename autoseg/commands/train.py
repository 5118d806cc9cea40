"""`autoseg train`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from ..errors import UsageError
from . import _flags, _options

HELP = "train one fold (or all five in turn) and score its validation cases"


def add_flags(command: ArgumentParser) -> None:
    command.add_argument("dataset", metavar="DATASET")
    command.add_argument(
        "fold", metavar="FOLD", help="0-4, `all` (every case, nothing to validate on) or `cv` (all folds)"
    )
    command.add_argument("-c", "--configuration", metavar="NAME", help="2d, 3d_fullres, ... (default: the plan's)")
    budget = command.add_mutually_exclusive_group()
    budget.add_argument("--epochs", type=int, metavar="N", help="train this many epochs")
    budget.add_argument("--time", type=_flags.seconds, metavar="T", help="train this long: 90s, 20m, 12h, 1h30m")
    command.add_argument(
        "--checkpoint-every",
        type=_flags.seconds,
        default=600.0,
        metavar="T",
        help="time between checkpoints (default: 10m)",
    )
    _flags.add_changes(command)
    _flags.add_machine(command, seed=True)


def run(options: Namespace) -> None:
    from ..pipeline import train as story

    if options.epochs is not None and options.epochs < 1:
        raise UsageError(f"--epochs must be at least 1, found {options.epochs}")
    story.train(
        _options.dataset_folder(options),
        options.fold,
        configuration=options.configuration,
        epochs=options.epochs,
        seconds=options.time,
        changes=options.changes,
        checkpoint_every=options.checkpoint_every,
        settings=_options.settings(options),
        trusted=tuple(options.trust),
    )
