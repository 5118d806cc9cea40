"""Which model of a workspace was made last. Each has a record of it: copies of files have other times."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .core.bounds import bounded
from .core.records import read_json, write_json
from .errors import RecordError, WorkspaceError
from .workspace import Workspace

LOG = logging.getLogger("autoseg")
LATEST = 1e11  # seconds since 1970: three thousand years


@dataclass(frozen=True)
class Made:
    """``made.json``."""

    at: float
    """Seconds since 1970."""

    def __post_init__(self) -> None:
        bounded(self, "at", least=0, most=LATEST)


def note_made(path: Path) -> None:
    """Writes the record ``path`` of a model that has just been made."""
    write_json(path, Made(time.time()), durable=False, sealed=True)


def newest_model(workspace: Workspace, dataset: str | None = None, configuration: str | None = None) -> Path:
    """Folder of the model that was made last: trained or, without a ``configuration``, selected.

    ``dataset`` is a full name; None takes any dataset of the workspace, and likewise ``configuration``. Raises
    WorkspaceError when there is none.
    """
    names = [dataset] if dataset else workspace.dataset_names()
    models = [model for name in names for model in _models(workspace, name, configuration)]
    if not models:
        raise WorkspaceError(
            f"no trained model{f' for {dataset}' if dataset else ''} in {workspace.root}. "
            "Train one with `autoseg train DATASET 0`, name its folder with -m, or its workspace with --workspace."
        )
    chosen = max(models)[1]
    others = sorted({path.name for _, path in models} - {chosen.name})
    if dataset and others:
        also = ", ".join(others)
        LOG.info("%s: the newest model is taken, %s; -c or -m chooses another (%s)", dataset, chosen.name, also)
    return chosen


def trained_models(workspace: Workspace, dataset: str, configuration: str | None = None) -> list[Path]:
    """Folders of what was trained on a dataset or selected for it, the newest last."""
    newest: dict[Path, float] = {}
    for made, path in _models(workspace, dataset, configuration):
        newest[path] = max(made, newest.get(path, made))
    return sorted(newest, key=lambda path: (newest[path], path))


def _models(workspace: Workspace, dataset: str, configuration: str | None) -> Iterator[tuple[float, Path]]:
    """When each model was made, and its folder."""
    files = workspace.dataset_folder(dataset)
    for name in [configuration] if configuration else files.trained():
        for run in files.folds_of(name):
            if run.weights.exists():
                yield _when(run.made, run.weights), run.root.parent
    if configuration is None and files.selected_manifest.exists():
        yield _when(files.selected_made, files.selected_manifest), files.selected


def _when(record: Path, model: Path) -> float:
    """A model without a record was made before there were any: its file tells as well as it can."""
    try:
        return read_json(record, Made).at
    except RecordError:
        return model.stat().st_mtime
