"""What MODEL means on the command line: a bundle, a folder of trained folds, an installed model or a dataset."""

from __future__ import annotations

from pathlib import Path

from .dataset_names import find_dataset
from .errors import UsageError
from .workspace import Workspace


def find_model(name: str, workspace: Workspace, configuration: str | None = None) -> Path:
    """The bundle or folder meant by a path, the name of an installed model, or a dataset.

    A dataset means what was selected for it or trained on it last, of ``configuration`` where one is named. Raises
    UsageError when nothing fits, WorkspaceError when nothing was trained on the dataset.
    """
    path = Path(name).expanduser()
    if path.is_file() or (path / "model.json").is_file() or path.name.startswith("fold_") or list(path.glob("fold_*")):
        return path
    installed = workspace.models / name
    if path.name == name and installed.is_dir():
        return installed
    try:
        dataset = find_dataset(name, workspace).name
    except UsageError:
        there = sorted(folder.name for folder in workspace.models.glob("[!.]*") if folder.is_dir())
        raise UsageError(
            f"there is no model {name!r}: it is no bundle, no folder runs/<configuration> and no dataset of "
            f"{workspace.root}. Installed there: {', '.join(there) or 'none'}"
        ) from None
    return workspace.newest_model(dataset, configuration)
