"""`autoseg check`."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from . import _flags, _options, _planning_flags

HELP = "list every problem of every case, with what to do, and what was measured of each channel"


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
    if table:
        sys.stdout.write(table + "\n")
    if problems:
        sys.stdout.write(problem_table(problems) + "\n")
    sys.stdout.write(f"{dataset.name}: {counted(len(dataset.cases), 'case')}, {counted(len(errors), 'error')}\n")
    return 2 if errors else 0
