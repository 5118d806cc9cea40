"""Everything that is wrong with a dataset, said at once."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..core.files import refuse_unwritable, remove_unfinished
from ..data.dataset import Dataset
from ..inspection.check import fix as repair
from ..inspection.extract import check_dataset
from ..inspection.problem import Problem
from ..settings import RunSettings
from ..workspace import DatasetFolder

LOG = logging.getLogger("autoseg")


def check(dataset: Dataset, files: DatasetFolder, *, fix: bool, settings: RunSettings) -> list[Problem]:
    """Every problem of every case. ``fix`` repairs first what is only rounding in a header, and says so."""
    if fix:
        for folder in {path.parent for case in dataset.cases for path in case.files}:
            remove_unfinished(folder)
        for done in repair(dataset):
            LOG.info("%s", done)
    folds = files.read_folds() if files.folds.exists() else None
    with _memory(files.measured) as measured:
        return check_dataset(dataset, measured, settings.threads, folds)


@contextmanager
def _memory(folder: Path) -> Iterator[Path]:
    """Where to remember what was measured: ``folder``, or nowhere if it cannot be written to, as somebody else's."""
    try:
        refuse_unwritable(folder)
        remove_unfinished(folder)
    except OSError as error:
        LOG.info("%s cannot be written to; what is measured now will be measured again", error.filename)
        with tempfile.TemporaryDirectory() as nowhere:
            yield Path(nowhere)
    else:
        yield folder
