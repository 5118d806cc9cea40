"""Parsed flags that several commands share, as the records the pipeline takes."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError

if TYPE_CHECKING:
    from ..planning.wishes import Wishes
    from ..settings import RunSettings
    from ..workspace import DatasetFolder, Workspace


def settings(options: Namespace) -> RunSettings:
    """Raises UsageError for fewer than one thread."""
    from ..settings import RunSettings

    if options.threads is not None and options.threads < 1:
        raise UsageError(f"--threads must be at least 1, found {options.threads}")
    given = {"threads": options.threads} if options.threads else {}
    return RunSettings(device=options.device, precision=options.precision, seed=getattr(options, "seed", 0), **given)


def wishes(options: Namespace) -> Wishes:
    from ..planning.wishes import Wishes

    return Wishes(spacing=options.spacing, mirror=options.mirror)


def workspace(options: Namespace) -> Workspace:
    from ..workspace import Workspace

    return Workspace(options.workspace)


def raw_folder(options: Namespace) -> Path:
    """The folder that holds DATASET's images."""
    from ..dataset_names import find_dataset

    return find_dataset(options.dataset, workspace(options)).folder


def dataset_folder(options: Namespace) -> DatasetFolder:
    """What the workspace holds for DATASET."""
    from ..dataset_names import find_dataset

    root = workspace(options)
    return root.dataset_folder(find_dataset(options.dataset, root).name)
