"""What MODEL means on the command line: a bundle, a folder of trained folds, an installed model or a dataset."""

from __future__ import annotations

import os
from pathlib import Path

from .core.names import short
from .dataset_names import find_dataset
from .errors import UsageError
from .workspace import Workspace


def find_model(name: str, workspace: Workspace, configuration: str | None = None) -> Path:
    """The bundle or folder meant by a path, the name of an installed model, or a dataset.

    A dataset means what was selected for it or trained on it last, of ``configuration`` where one is named. Raises
    UsageError when nothing fits, WorkspaceError when nothing was trained on the dataset.
    """
    path = Path(os.path.expanduser(name))
    # os.path says no where Path raises: for what may not be looked at and for what cannot be a path
    if os.path.isfile(path) or os.path.isfile(path / "model.json") or path.name.startswith("fold_") or _has_folds(path):
        return path
    installed = workspace.models / name
    if path.name == name and os.path.isdir(installed):
        return installed
    if os.path.exists(path) and not os.path.isdir(path):
        raise UsageError(f"{path} is no model: it is neither a file nor a folder")
    try:
        dataset = find_dataset(name, workspace).name
    except UsageError:
        there = sorted(folder.name for folder in workspace.models.glob("[!.]*") if folder.is_dir())
        raise UsageError(
            f"there is no model {short(name, 300)!r}: it is no bundle, no folder runs/<configuration> and no dataset "
            f"of {workspace.root}. Installed there: {short(', '.join(there), 500) or 'none'}"
        ) from None
    return workspace.newest_model(dataset, configuration)


def _has_folds(path: Path) -> bool:
    return os.path.isdir(path) and any(path.glob("fold_*"))
