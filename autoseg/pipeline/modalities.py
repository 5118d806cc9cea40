"""Datasets of which each case has one modality, which a table may name; and what is said of such datasets."""

from __future__ import annotations

import logging
from pathlib import Path

from ..core.fusion import UNPAIRED
from ..core.missing import listed
from ..data.dataset import Dataset
from ..data.layouts import read_dataset
from ..data.modalities import with_modalities
from .plan_folds import read_column

LOG = logging.getLogger("autoseg")
FLAG = "--modality-file"


def read_with_modalities(folder: Path, table: str | None) -> Dataset:
    """The dataset in ``folder``, of whose cases ``table``, ``FILE.csv`` or ``FILE.csv:COLUMN``, names the modalities;
    None: dataset.json and the names of the files say which channels a case has.

    Raises DatasetError and UsageError for what does not fit.
    """
    dataset = read_dataset(folder)
    return dataset if table is None else with_modalities(dataset, read_column(table, dataset.keys, FLAG), FLAG)


def tell_unpaired(dataset: Dataset) -> None:
    """Says what can be done with a dataset whose cases have one channel each."""
    if dataset.unpaired:
        LOG.info(
            "each case has one of the channels %s: `--fusion %s`, for plan and plan_and_preprocess, trains them in one "
            "network, with norms for each modality",
            listed(dataset.channels),
            UNPAIRED,
        )
