"""`autoseg check`."""

from __future__ import annotations

import logging
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import _flags, _options

HELP = "list every problem of every case, with what to do"
LOG = logging.getLogger("autoseg")


def add_flags(command: ArgumentParser) -> None:
    command.add_argument("dataset", type=_flags.word, metavar="DATASET")
    command.add_argument("--fix", action="store_true", help="repair what is only rounding in a header")
    _flags.add_machine(command)


def run(options: Namespace) -> int:
    from ..core.files import remove_unfinished
    from ..data.layouts import read_dataset
    from ..inspection.check import fix, table
    from ..inspection.extract import check_dataset

    dataset = read_dataset(_options.raw_folder(options))
    if options.fix:
        for folder in {path.parent for case in dataset.cases for path in case.files}:
            remove_unfinished(folder)
        for done in fix(dataset):
            LOG.info("%s", done)
    files = _options.workspace(options).dataset_folder(dataset.name)
    folds = files.read_folds() if files.folds.exists() else None
    with _memory(files.measured) as measured:
        problems = check_dataset(dataset, measured, _options.settings(options).threads, folds)
    errors = [problem for problem in problems if problem.severity == "error"]
    if problems:
        sys.stdout.write(table(problems) + "\n")
    sys.stdout.write(f"{dataset.name}: {len(dataset.cases)} cases, {len(errors)} errors\n")
    return 2 if errors else 0


@contextmanager
def _memory(folder: Path) -> Iterator[Path]:
    """Where to remember what was measured: ``folder``, or nowhere if it cannot be written to, as somebody else's."""
    import tempfile

    from ..core.files import refuse_unwritable, remove_unfinished

    try:
        refuse_unwritable(folder)
        remove_unfinished(folder)
    except OSError as error:
        LOG.info("%s cannot be written to; what is measured now will be measured again", error.filename)
        with tempfile.TemporaryDirectory() as nowhere:
            yield Path(nowhere)
    else:
        yield folder
