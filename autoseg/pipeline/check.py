"""Everything that is wrong with a dataset, said at once."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..alignment.record import BY_HEADER, AlignmentRequest
from ..core.files import refuse_unwritable, remove_unfinished
from ..data.dataset import Dataset
from ..errors import AutosegError
from ..inspection.alignments import with_alignment
from ..inspection.channel_table import channel_table
from ..inspection.check import fix as repair
from ..inspection.check import read_headers
from ..inspection.extract import check_dataset
from ..inspection.problem import Problem
from ..settings import RunSettings
from ..workspace import DatasetFolder
from .modalities import tell_unpaired

LOG = logging.getLogger("autoseg")


def check(dataset: Dataset, files: DatasetFolder, *, fix: bool, settings: RunSettings) -> tuple[list[Problem], str]:
    """Every problem of every case, and a table of what was measured of each channel in those without errors.

    ``fix`` repairs first what is only rounding in a header, and says so.
    """
    tell_unpaired(dataset)
    headers = read_headers(dataset, settings.threads)
    dataset = with_alignment(dataset, headers, alignment_of_before(files, dataset))
    if fix:
        for folder in {path.parent for case in dataset.cases for path in case.files}:
            remove_unfinished(folder)
        for done in repair(dataset):
            LOG.info("%s", done)
        headers = read_headers(dataset, settings.threads)
    folds = files.read_folds() if files.folds.exists() else None
    with _memory(files.measured) as measured:
        fingerprint, problems = check_dataset(dataset, measured, settings.threads, folds, headers)
    return problems, channel_table(fingerprint, dataset.name, dataset.channels, dataset.alignment)


def alignment_of_before(files: DatasetFolder, dataset: Dataset) -> AlignmentRequest:
    """What was asked for the last time that the dataset was measured, for the same channels; by the headers where there
    was nothing."""
    try:
        before = files.read_dataset()
    except AutosegError:  # none yet, or none that can be read
        return BY_HEADER
    if before.alignment is None or before.channels != dataset.channels:
        return BY_HEADER
    number = before.alignment.reference
    name = before.channels[number]  # a number may also be the name of another channel, which comes first
    return AlignmentRequest(before.alignment.method, name if before.channels.index(name) == number else str(number))


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
