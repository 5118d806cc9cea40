"""Datasets of which each case has one modality, which a table may name; and what is said of such datasets."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from ..core.fusion import UNPAIRED
from ..core.missing import listed
from ..data.dataset import Dataset
from ..data.layouts import NO_NAMES, Names, read_dataset
from ..data.modalities import with_modalities
from ..errors import AutosegError
from ..workspace import DatasetFolder
from .plan_folds import read_column

LOG = logging.getLogger("autoseg")
FLAG = "--modality-file"
PLAIN = "plain"  # the layout of folders without a dataset.json


def read_with_modalities(
    folder: Path, table: str | None, names: Names = NO_NAMES, files: DatasetFolder | None = None
) -> Dataset:
    """The dataset in ``folder``, of whose cases ``table``, ``FILE.csv`` or ``FILE.csv:COLUMN``, names the modalities;
    None: dataset.json and the names of the files say which channels a case has.

    ``names`` are for channels and labels where there is no dataset.json. Those that are not given stay as they were
    the last time, which ``files`` know. Raises DatasetError and UsageError for what does not fit.
    """
    dataset = read_dataset(folder, names)
    if files is not None and dataset.layout == PLAIN:
        dataset = _named_as_before(dataset, names, files)
    return dataset if table is None else with_modalities(dataset, read_column(table, dataset.keys, FLAG), FLAG)


def _named_as_before(dataset: Dataset, names: Names, files: DatasetFolder) -> Dataset:
    """Where the same folder still holds as many channels and the same values."""
    try:
        before = files.read_dataset()
    except AutosegError:  # none yet, or none that can be read
        return dataset
    if (before.layout, before.folder) != (PLAIN, dataset.folder):
        return dataset
    if not names.channels and len(before.channels) == len(dataset.channels):
        dataset = replace(dataset, channels=before.channels)
    if not names.labels and before.labels.values == dataset.labels.values:
        dataset = replace(dataset, labels=before.labels)
    return dataset


def tell_unpaired(dataset: Dataset) -> None:
    """Says what can be done with a dataset whose cases have one channel each."""
    if dataset.unpaired:
        LOG.info(
            "each case has one of the channels %s: `--fusion %s`, for plan and plan_and_preprocess, trains them in one "
            "network, with norms for each modality",
            listed(dataset.channels),
            UNPAIRED,
        )
