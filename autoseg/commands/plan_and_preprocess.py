"""`autoseg plan_and_preprocess`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from . import _flags, _options, _planning_flags

HELP = "check, fingerprint, plan and preprocess a dataset"
EXAMPLES = (
    "autoseg plan_and_preprocess path/to/my_dataset",
    "autoseg plan_and_preprocess Hippocampus --explain",
    "autoseg plan_and_preprocess Hippocampus --planner plain_unet -c 3d_fullres",
)


def add_flags(command: ArgumentParser) -> None:
    command.add_argument("dataset", type=_flags.word, metavar="DATASET")
    command.add_argument("--explain", action="store_true", help="say why, for every decision, and what was measured")
    _planning_flags.add_planning(command)
    _planning_flags.add_alignment(command)
    _planning_flags.add_modality_file(command)
    _planning_flags.add_names(command)
    _flags.add_configurations(command)
    _flags.add_report(command)
    _flags.add_machine(command)


def run(options: Namespace) -> None:
    from ..pipeline import plan_and_preprocess as story
    from .plan import explained

    folder, workspace = _options.raw_folder(options, writing=True), _options.workspace(options)
    planned = story.plan_and_preprocess(
        folder,
        workspace,
        _options.request(options),
        folds=_options.fold_rules(options),
        configurations=options.configuration,
        alignment=_options.alignment(options),
        modality_file=options.modality_file,
        names=_options.names(options),
    )
    files = workspace.folder_for(folder)
    if (write := _options.report_at_end(options, files, pictures=bool(files.trained()))) is not None:
        write()
    said = explained(planned, files.read_fingerprint()) if options.explain else ""
    options.console.result(said, dataset=files.root.name, folder=files.root, plan=planned)
