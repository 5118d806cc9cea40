"""`autoseg predict`."""

from __future__ import annotations

import logging
from argparse import ArgumentParser, Namespace
from pathlib import Path

from . import _flags, _options

HELP = "segment new images"
EXAMPLES = (
    "autoseg predict -i new_scans -o results",
    "autoseg predict -i new_scans -o results -d Hippocampus -c 2d",
    "autoseg predict -i scan_0000.nii.gz -o out -m hippocampus --also uncertainty",
)
LOG = logging.getLogger("autoseg")


def add_flags(command: ArgumentParser) -> None:
    command.add_argument(
        "-i", "--input", nargs="+", type=_flags.path, required=True, metavar="IN", help="files or a folder"
    )
    command.add_argument(
        "-o", "--output", type=_flags.path, required=True, metavar="OUT", help="folder for the label maps"
    )
    _add_model(command)
    _add_modality(command)
    command.add_argument(
        "--probabilities",
        nargs="?",
        choices=("uint8", "uint16", "float32"),
        const="uint8",
        help="also write OUT/probabilities/CASE.nii.gz, in 8 bits (default), 16 bits or as float",
    )
    command.add_argument(
        "--also",
        action="append",
        default=[],
        type=_flags.word,
        metavar="NAME",
        help="also write this output: uncertainty, probabilities, ...; repeatable",
    )
    command.add_argument(
        "--volumes", action="store_true", help="also write OUT/volumes.csv: ml of every label of every case"
    )
    _add_existing(command)
    command.add_argument(
        "--tta",
        choices=("auto", "none", "full"),
        default="auto",
        help="average over mirror images of every patch (default: auto, where it pays)",
    )
    command.add_argument(
        "--step",
        type=_flags.number(_flags.LEAST_STEP, 1),
        default=0.5,
        metavar="SHARE",
        help="distance of patches, in patches (default: 0.5)",
    )
    _add_certainty(command)
    _flags.add_report(command)
    _flags.add_machine(command)
    _flags.add_memory(command)


def _add_model(command: ArgumentParser) -> None:
    model = command.add_mutually_exclusive_group()
    model.add_argument(
        "-d",
        "--dataset",
        type=_flags.word,
        metavar="DATASET",
        help="the model selected or trained last on this dataset",
    )
    model.add_argument(
        "-m",
        "--model",
        type=_flags.word,
        metavar="MODEL",
        help="bundle, folder of trained folds, or installed model; without -m and -d the only model that there is",
    )
    _flags.add_configuration(command, "2d, 3d_fullres, ... (default: newest trained)")
    _flags.add_folds(command, "these folds only (default: all trained)")


def _add_modality(command: ArgumentParser) -> None:
    command.add_argument(
        "--modality",
        type=_flags.word,
        metavar="CHANNEL",
        help="of images whose names do not say it, for a model that takes one per case (default: by their values)",
    )


def _add_certainty(command: ArgumentParser) -> None:
    """How sure of a voxel the model says it is."""
    command.add_argument(
        "--mc-dropout",
        type=_flags.whole(1, 1000),
        default=0,
        metavar="N",
        help="average over N samples of the dropout that the model was trained with (default: dropout is off)",
    )
    command.add_argument(
        "--calibrated",
        action="store_true",
        help="correct probabilities and uncertainty by the temperatures that select learned",
    )


def _add_existing(command: ArgumentParser) -> None:
    """What becomes of files that lie in OUT already."""
    existing = command.add_mutually_exclusive_group()
    existing.add_argument(
        "--continue",
        action="store_const",
        dest="existing",
        const="keep",
        default="refuse",
        help="keep the label maps that are in OUT, whoever made them, unless they cannot be used",
    )
    existing.add_argument(
        "--overwrite",
        action="store_const",
        dest="existing",
        const="replace",
        help="replace files in OUT that predict did not write (its own it replaces anyway)",
    )


def run(options: Namespace) -> int:
    from ..core import process
    from ..core.files import refuse_unwritable
    from ..inference.model import Model
    from ..inference.options import PredictOptions
    from ..inference.outputs import AGREEMENT, chosen
    from ..pipeline import predict as story
    from ..pipeline.seen_in_training import seen_in_training, warning_of
    from ..pipeline.to_predict import images_to_predict
    from ..reporting.story import predictions_report_after as report_after

    refuse_unwritable(options.output)
    story.refuse_among_images(options.input, options.output)
    trusted = tuple(options.trust)
    outputs = chosen([AGREEMENT, *options.also], options.probabilities, trusted)
    process.keep_freed()
    path = _model(options)
    LOG.info("model: %s", path)
    model = Model.read(path, options.folds, settings=_options.settings(options), trusted=trusted)
    cases, refused = images_to_predict(model, options.input, options.modality)
    if seen := seen_in_training(path, options.folds, cases):
        LOG.warning("%s", warning_of(seen, len(cases)))
    report = story.predict(
        model,
        cases,
        options.output,
        outputs=outputs,
        options=PredictOptions(options.tta, options.step, options.mc_dropout, options.calibrated),
        existing=options.existing,
        refused=refused,
        volumes=options.volumes,
    )
    if not options.no_report:
        report_after(options.output, 1 if options.memory else model.settings.threads)
    options.console.result("", model=path, folder=options.output, report=report)
    return 1 if report.failed else 0


def _model(options: Namespace) -> Path:
    """The one that is named, or the only one."""
    from ..dataset_names import find_dataset
    from ..model_names import find_model, only_model
    from ..newest import newest_model

    workspace = _options.workspace(options)
    if options.model:
        return find_model(options.model, workspace, options.configuration)
    if options.dataset:
        return newest_model(workspace, find_dataset(options.dataset, workspace).name, options.configuration)
    return only_model(workspace, options.configuration)
