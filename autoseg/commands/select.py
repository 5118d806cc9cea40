"""`autoseg select`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from . import _flags, _options

HELP = "compare what was trained and every ensemble of it; make one model of the best"
EXAMPLES = (
    "autoseg select Hippocampus",
    "autoseg select Hippocampus -c 2d -c 3d_fullres --folds 0 1",
)


def add_flags(command: ArgumentParser) -> None:
    command.add_argument("dataset", type=_flags.word, metavar="DATASET")
    _flags.add_configurations(command)
    _flags.add_folds(command, "compare on these folds only (default: all)")
    command.add_argument("--no-mirroring-test", action="store_true", help="do not measure whether mirroring pays")
    _flags.add_report(command)
    _flags.add_machine(command)


def run(options: Namespace) -> None:
    from ..evaluation.selection import report
    from ..pipeline import select as story

    files = _options.dataset_folder(options, writing=True)
    selection = story.select(
        files,
        configurations=options.configuration,
        folds=options.folds,
        mirroring=not options.no_mirroring_test,
        settings=_options.settings(options),
    )
    options.console.result(
        f"{report(selection)}\nwritten: {files.selected} (the model), {files.selection} (the comparison)",
        model=files.selected,
        comparison=files.selection,
        selection=selection,
    )
    if (write := _options.report_at_end(options, files)) is not None:
        write()
