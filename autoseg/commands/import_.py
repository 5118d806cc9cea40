"""`autoseg import`."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from . import _options

HELP = "make an autoseg model of one that nnU-Net trained"


def add_flags(command: ArgumentParser) -> None:
    command.add_argument("program", choices=("nnunet",), metavar="nnunet", help="the program that trained it")
    command.add_argument("model", type=Path, metavar="MODEL", help="its folder (with plans.json and fold_*), or a zip")
    command.add_argument("--out", type=Path, metavar="BUNDLE", help="folder or zip (default: the workspace's models)")
    command.add_argument("-c", "--configuration", metavar="NAME", help="where there are several: this one")
    command.add_argument("-f", "--folds", nargs="+", metavar="FOLD", help="these folds only (default: all trained)")
    command.add_argument("--checkpoint", default="checkpoint_final.pth", metavar="NAME", help="(default: %(default)s)")


def run(options: Namespace) -> None:
    from ..bundle.card import card
    from ..interop.nnunet_model import import_nnunet

    bundle = import_nnunet(
        options.model,
        options.out,
        into=_options.workspace(options).models,
        configuration=options.configuration,
        folds=options.folds,
        checkpoint=options.checkpoint,
    )
    named = options.out or bundle.path.name
    sys.stdout.write(f"{card(bundle)}\n\nuse it: autoseg predict -m {named} -i IN -o OUT\n")
