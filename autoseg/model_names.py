"""What MODEL means on the command line: a bundle, a folder of trained folds, an installed model or a dataset."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from .core.names import short
from .dataset_names import find_dataset, folder_called, some
from .errors import UsageError
from .newest import newest_model, trained_models
from .run_folder import FOLD, folds_in
from .workspace import Workspace

LOG = logging.getLogger("autoseg")


def find_model(name: str, workspace: Workspace, configuration: str | None = None) -> Path:
    """The bundle or folder meant by a path, the name of an installed model, or a dataset.

    A dataset means what was selected for it or trained on it last, of ``configuration`` where one is named. Raises
    UsageError when nothing fits, WorkspaceError when nothing was trained on the dataset.
    """
    folder = folder_called(name)
    if folder is not None and ((folder / "model.json").is_file() or bool(folds_in(folder)) or _is_fold(folder)):
        return folder
    if _is_file(name) or _is_fold(Path(name)):
        return Path(name).expanduser()
    installed = folder_called(str(workspace.models / name)) if Path(name).name == name else None
    if installed is not None:
        return installed
    if os.path.exists(name) and not os.path.isdir(name):  # os.path says no where Path raises
        raise UsageError(f"{short(name)} is no model: it is neither a file nor a folder")
    try:
        dataset = find_dataset(name, workspace).name
    except UsageError:
        there = sorted(folder.name for folder in workspace.models.glob("[!.]*") if folder.is_dir())
        raise UsageError(
            f"there is no model {short(name)!r}: it is no bundle, no folder runs/<configuration> and no dataset of "
            f"{workspace.root}. Installed there: {some(there)}"
        ) from None
    return newest_model(workspace, dataset, configuration)


def plans_or_model(path: Path, workspace: Workspace) -> Path:
    """What decisions are taken from: a plans file of nnU-Net, or a model as ``find_model`` knows it."""
    return path if path.suffix == ".json" else find_model(str(path), workspace)


@dataclass(frozen=True)
class KnownModel:
    """What ``predict`` can be asked for by name."""

    name: str
    flag: str
    """``-m`` for one that was installed, ``-d`` for what was trained on a dataset."""
    path: Path
    """Of a dataset: what was selected or trained last."""


def known_models(workspace: Workspace, configuration: str | None = None) -> list[KnownModel]:
    """The installed ones and, of ``configuration`` where one is named, one of each dataset, sorted."""
    installed = sorted(path for path in workspace.models.glob("[!.]*") if (path / "model.json").is_file())
    found = [KnownModel(path.name, "-m", path) for path in installed]
    for dataset in workspace.dataset_names():
        if models := trained_models(workspace, dataset, configuration):
            found.append(KnownModel(dataset, "-d", models[-1]))
    return found


def only_model(workspace: Workspace, configuration: str | None = None) -> Path:
    """The model that is meant where none is named. Raises UsageError where there are several, WorkspaceError if none.

    A ``configuration`` says nothing about installed models, which are then no choice.
    """
    models = [model for model in known_models(workspace, configuration) if not configuration or model.flag == "-d"]
    if len(models) > 1:
        named = some([f"{model.flag} {model.name}" for model in models])
        raise UsageError(f"{workspace.root} has {len(models)} models; choose one: {named} (`autoseg info` lists them)")
    if models:
        LOG.info("no model is named: %s %s is the only one in %s", models[0].flag, models[0].name, workspace.root)
    if not models or models[0].flag == "-d":
        return newest_model(workspace, models[0].name if models else None, configuration)
    return models[0].path


def _is_fold(path: Path) -> bool:
    return path.name.startswith(FOLD)


def _is_file(name: str) -> bool:
    try:
        return Path(name).expanduser().is_file()
    except (OSError, RuntimeError, ValueError):
        return False
