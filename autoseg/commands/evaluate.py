"""`autoseg evaluate`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from . import _flags, _options

HELP = "score predictions against a reference"
EXAMPLES = (
    "autoseg evaluate labelsTs results -o scores",
    "autoseg evaluate labelsTs results --metrics lesions --lesion-dilation 3",
    "autoseg evaluate reference.nii.gz prediction.nii.gz --labels dataset.json",
)


def add_flags(command: ArgumentParser) -> None:
    command.add_argument("reference", type=_flags.path, metavar="REFERENCE", help="folder of label files (or one file)")
    command.add_argument(
        "predictions", type=_flags.path, metavar="PREDICTIONS", help="folder of label files (or one file)"
    )
    command.add_argument("--labels", type=_flags.path, metavar="JSON", help="dataset.json that names the labels")
    command.add_argument(
        "-o",
        "--output",
        type=_flags.path,
        metavar="OUT",
        help="write every score of every case there: scores.csv and scores.json (default: print the means only)",
    )
    command.add_argument(
        "--metrics",
        type=_flags.words,
        default=(),
        metavar="NAME[,...]",
        help="measure these, too: confusion, lesions, roc, surface_area, or one of your own",
    )
    command.add_argument(
        "--tolerance", type=_flags.number(0, 1e6), default=1.0, metavar="MM", help="of the surface Dice (default: 1)"
    )
    command.add_argument(
        "--lesion-dilation",
        type=_flags.number(0, 1000),
        default=3.0,
        metavar="MM",
        help="how far the reference grows before its lesions are counted (default: 3)",
    )
    command.add_argument(
        "--lesion-minimum",
        type=_flags.number(0, 1e9),
        default=0.0,
        metavar="MM3",
        help="lesions up to this volume do not count (default: 0, all count)",
    )
    _flags.add_patients(command)
    _flags.add_machine(command)


def run(options: Namespace) -> int:
    from ..core.files import refuse_unwritable
    from ..evaluation.tables import score_table
    from ..pipeline import evaluate as story

    if options.output is not None:
        refuse_unwritable(options.output)
    failed: dict[str, str] = {}
    summary = story.evaluate(
        options.reference,
        options.predictions,
        labels=options.labels,
        output=options.output,
        failed=failed,
        metrics=options.metrics,
        tolerance=options.tolerance,
        lesion_dilation=options.lesion_dilation,
        lesion_minimum=options.lesion_minimum,
        group=options.group,
        group_file=options.group_file,
        trusted=tuple(options.trust),
        workers=_options.settings(options).threads,
    )
    files = [options.output / name for name in ("scores.csv", "scores.json")] if options.output is not None else []
    where = "-o FOLDER writes every score of every case"
    if files:
        where = f"every score of every case: {files[0]}, {files[1]}"
    options.console.result(f"{score_table(summary)}\n{where}", scores=summary, failed=failed, files=files)
    return 1 if failed else 0
