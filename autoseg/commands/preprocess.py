"""`autoseg preprocess`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from . import _flags, _options

HELP = "bring every case to the network's grid, as the plan says"
EXAMPLES = ("autoseg preprocess Hippocampus -c 3d_fullres",)


def add_flags(command: ArgumentParser) -> None:
    command.add_argument("dataset", type=_flags.word, metavar="DATASET")
    _flags.add_configurations(command)
    _flags.add_machine(command)


def run(options: Namespace) -> None:
    from ..core.locks import alone
    from ..pipeline import plan_and_preprocess as story

    files, settings = _options.dataset_folder(options, writing=True), _options.settings(options)
    with alone(files.plan_lock, "preprocess"):
        given = files.read_dataset(), files.read_fingerprint(), files.read_plan()
        story.preprocess(files, *given, configurations=options.configuration, settings=settings)
    prepared = options.configuration or [*given[-1].configurations]
    options.console.result("", dataset=files.root.name, configurations=prepared)
