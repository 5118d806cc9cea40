"""`autoseg check`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from . import _flags, _options, _planning_flags

HELP = "list every problem of every case, with what to do, and what was measured of each channel"
EXAMPLES = (
    "autoseg check Dataset004_Hippocampus",
    "autoseg check path/to/my_dataset --fix",
)


def add_flags(command: ArgumentParser) -> None:
    command.add_argument("dataset", type=_flags.word, metavar="DATASET")
    command.add_argument("--fix", action="store_true", help="repair what is only rounding in a header")
    _planning_flags.add_modality_file(command)
    _planning_flags.add_names(command)
    _flags.add_machine(command)


def run(options: Namespace) -> int:
    from ..core.names import counted
    from ..inspection.problem import problem_table
    from ..pipeline.check import check
    from ..pipeline.modalities import read_with_modalities

    folder = _options.raw_folder(options)
    files = _options.workspace(options).dataset_folder(folder.absolute().name)
    dataset = read_with_modalities(folder, options.modality_file, _options.names(options), files)
    problems, table = check(dataset, files, fix=options.fix, settings=_options.settings(options))
    errors = [problem for problem in problems if problem.severity == "error"]
    said = f"{dataset.name}: {counted(len(dataset.cases), 'case')}, {counted(len(errors), 'error')}"
    options.console.result(
        "\n".join(filter(None, [table, problem_table(problems) if problems else "", said])),
        dataset=dataset.name,
        cases=len(dataset.cases),
        errors=len(errors),
        problems=problems,
        channels=table.splitlines(),
    )
    return 2 if errors else 0
