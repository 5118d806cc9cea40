"""`autoseg fingerprint`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from . import _flags, _options, _planning_flags

HELP = "check and measure the dataset"
EXAMPLES = ("autoseg fingerprint Dataset004_Hippocampus",)


def add_flags(command: ArgumentParser) -> None:
    command.add_argument("dataset", type=_flags.word, metavar="DATASET")
    _planning_flags.add_alignment(command)
    _planning_flags.add_modality_file(command)
    _planning_flags.add_names(command)
    _flags.add_machine(command)


def run(options: Namespace) -> None:
    from ..core.locks import alone
    from ..pipeline import plan_and_preprocess as story

    folder, workspace = _options.raw_folder(options, writing=True), _options.workspace(options)
    files = workspace.folder_for(folder)
    with alone(files.plan_lock, "fingerprint"):
        story.fingerprint(
            folder,
            workspace,
            settings=_options.settings(options),
            alignment=_options.alignment(options),
            modality_file=options.modality_file,
            names=_options.names(options),
        )
    options.console.result("", dataset=files.root.name, files=[files.dataset, files.fingerprint])
