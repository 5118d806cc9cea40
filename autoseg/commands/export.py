"""`autoseg export`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from . import _flags, _options

HELP = "pack a trained model into one file that works elsewhere"
EXAMPLES = (
    "autoseg export Hippocampus --licence CC-BY-4.0",
    "autoseg export Hippocampus -c 3d_fullres -o hippocampus.zip",
    "autoseg export Hippocampus --format nnunet -o for_nnunet",
)


def add_flags(command: ArgumentParser) -> None:
    command.add_argument(
        "model", type=_flags.word, metavar="MODEL", help="a dataset, a folder of trained folds, or a bundle"
    )
    command.add_argument(
        "-o", "--output", type=_flags.path, metavar="FILE", help="a zip, or a folder (default: NAME.zip)"
    )
    command.add_argument(
        "--format", choices=("autoseg", "nnunet"), default="autoseg", help="for which program (default: %(default)s)"
    )
    _flags.add_configuration(command, "of a dataset: this one, not what was selected")
    _flags.add_folds(command, "these folds only (default: all trained)")
    command.add_argument("--licence", metavar="TEXT", help="under which the model may be used (default: the dataset's)")
    command.add_argument("--citation", metavar="TEXT", help="what users should cite (default: the dataset's)")


def run(options: Namespace) -> None:
    from ..core.digests import file_digest
    from ..core.files import refuse_unwritable, remove_unfinished
    from ..model_names import find_model
    from ..pipeline import export_bundle as story

    target = options.output or Path("NAME.zip")
    refuse_unwritable(target.absolute().parent)
    remove_unfinished(target.absolute().parent)
    if options.format == "nnunet":
        return _for_nnunet(options)
    target, manifest = story.export_bundle(
        find_model(options.model, _options.workspace(options), options.configuration),
        options.output,
        folds=options.folds,
        licence=options.licence,
        citation=options.citation,
        trusted=tuple(options.trust),
    )
    digest = file_digest(target) if target.is_file() else None
    said = [str(target)]
    if digest:
        said.append(f"sha256 {digest}")
    if not manifest.licence:
        said.append("it names no licence, so nobody may use it; --licence TEXT adds one")
    options.console.result("\n".join(said), bundle=target, sha256=digest, manifest=manifest)


def _for_nnunet(options: Namespace) -> None:
    from ..interop.nnunet_export import export_nnunet
    from ..model_names import find_model
    from ..pipeline import export_bundle as story

    trained, manifest = story.described(
        find_model(options.model, _options.workspace(options), options.configuration),
        folds=options.folds,
        licence=options.licence,
        citation=options.citation,
        trusted=tuple(options.trust),
    )
    folders = export_nnunet(trained, manifest, options.output or Path(f"{manifest.name}_nnunet"))
    said = []
    for folder in folders:
        folds = " ".join(sorted(path.name.removeprefix("fold_") for path in folder.glob("fold_*")))
        said.append(f"nnUNetv2_predict_from_modelfolder -m {folder} -f {folds} -i IN -o OUT")
    options.console.result("\n".join(said), folders=folders, commands=said)
