"""`autoseg import`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from . import _flags, _options

HELP = "make an autoseg model of one that nnU-Net trained"
EXAMPLES = (
    "autoseg import nnunet nnUNetTrainer__nnUNetPlans__3d_fullres",
    "autoseg import nnunet model.zip --out hippocampus --folds 0 1",
)


def add_flags(command: ArgumentParser) -> None:
    command.add_argument("program", choices=("nnunet",), metavar="nnunet", help="the program that trained it")
    command.add_argument(
        "model", type=_flags.path, metavar="MODEL", help="its folder (with plans.json and fold_*), or a zip"
    )
    command.add_argument(
        "--out", type=_flags.path, metavar="BUNDLE", help="folder or zip (default: the workspace's models)"
    )
    _flags.add_configuration(command, "where there are several: this one")
    _flags.add_folds(command, "these folds only (default: all trained)")
    command.add_argument(
        "--checkpoint", default="checkpoint_final.pth", type=_flags.name, metavar="NAME", help="(default: %(default)s)"
    )


def run(options: Namespace) -> None:
    from ..bundle.card import card
    from ..core.files import refuse_unwritable, remove_unfinished
    from ..interop.nnunet_model import import_nnunet

    into = options.out.absolute().parent if options.out else _options.workspace(options).models
    refuse_unwritable(into)
    remove_unfinished(into)
    bundle = import_nnunet(
        options.model,
        options.out,
        into=_options.workspace(options).models,
        configuration=options.configuration,
        folds=options.folds,
        checkpoint=options.checkpoint,
    )
    named = options.out or bundle.path.name
    said = f"{card(bundle)}\n\nuse it: autoseg predict -m {named} -i IN -o OUT"
    options.console.result(said, bundle=bundle.path, manifest=bundle.manifest)
