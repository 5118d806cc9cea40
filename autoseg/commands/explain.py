"""`autoseg explain`."""

from __future__ import annotations

import logging
from argparse import ArgumentParser, Namespace

from . import _flags, _options

HELP = "map the voxels by which a model decides for a label"
EXAMPLES = (
    "autoseg explain Hippocampus hippocampus_003 -o why",
    "autoseg explain model.zip scan_0000.nii.gz -o why --method lime --label liver",
)
LOG = logging.getLogger("autoseg")


def add_flags(command: ArgumentParser) -> None:
    command.add_argument(
        "model", type=_flags.word, metavar="MODEL", help="bundle, trained folds, installed model or dataset"
    )
    command.add_argument(
        "case", nargs="+", type=_flags.word, metavar="CASE", help="of the dataset it was trained on; or image files"
    )
    command.add_argument(
        "-o", "--output", type=_flags.path, required=True, metavar="OUT", help="folder for maps and pictures"
    )
    command.add_argument(
        "--method",
        action="append",
        default=[],
        type=_flags.word,
        metavar="NAME",
        help="grad_cam, occlusion, lime, ...; repeatable (default: grad_cam and occlusion)",
    )
    command.add_argument(
        "--label",
        action="append",
        default=[],
        type=_flags.word,
        metavar="NAME",
        help="explain this one; repeatable (default: all that are found)",
    )
    _flags.add_configuration(command, "2d, 3d_fullres, ... (default: newest trained)")
    _flags.add_folds(command, "these folds only (default: all trained)")
    _flags.add_machine(command)


def run(options: Namespace) -> int:
    from ..core.files import refuse_unwritable
    from ..inference.model import Model
    from ..model_names import find_model
    from ..reporting.explained import explain_all

    refuse_unwritable(options.output)
    trusted, workspace = tuple(options.trust), _options.workspace(options)
    path = find_model(options.model, workspace, options.configuration)
    LOG.info("model: %s", path)
    model = Model.read(path, options.folds, settings=_options.settings(options), trusted=trusted)
    given = {"methods": options.method, "labels": options.label}
    maps, failed = explain_all(model, options.case, options.output, workspace, **given)
    lines = [f"{one.file}: largest {one.largest:.3g}, {one.inside:.0%} within the explained part" for one in maps]
    options.console.result("\n".join(lines), model=path, maps=maps, failed=failed, folder=options.output)
    return 1 if failed else 0
