"""Images that a model was trained on: how well it segments them says nothing about others."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from ..bundle.manifest import Manifest
from ..core.names import counted
from ..core.records import read_json
from ..data.dataset import Case
from ..errors import AutosegError
from ..workspace import DatasetFolder, run_at

TOLD = 3  # names in a message


def seen_in_training(model: Path, folds: Collection[str] | None, cases: Sequence[Case]) -> list[str]:
    """Keys of those ``cases`` that a network of ``model`` was trained on, by the files of their images.

    ``folds`` None: all that were trained. Known for trainings in a workspace and for what `autoseg select` wrote there;
    a bundle that was exported names no files, so nothing is found.
    """
    try:
        keys, files = _trained_on(model.resolve(), folds)
        known = {case.key: case.image_files for case in files.read_dataset().cases} if files else {}
        seen = _resolved(file for key in keys for file in known.get(key, ()))
        return [case.key for case in cases if seen & _resolved(case.image_files)]
    except (AutosegError, OSError, RuntimeError, ValueError):  # whoever predicts needs none of these files
        return []


def warning_of(keys: Sequence[str], cases: int) -> str:
    """What to say of them."""
    named = ", ".join(keys[:TOLD]) + (", ..." if len(keys) > TOLD else "")
    return (
        f"the model was trained on {len(keys)} of {counted(cases, 'case')} ({named}): scores of these say nothing "
        "about new images, and its quality is told too well"
    )


def _trained_on(model: Path, folds: Collection[str] | None) -> tuple[set[str], DatasetFolder | None]:
    beside = DatasetFolder(model.parent)
    if model == beside.selected and beside.folds.is_file():
        held = read_json(beside.selected_manifest, Manifest).configurations.values()
        return _keys(beside, list(folds or {fold for of in held for fold in of})), beside
    if (found := run_at(model)) is None:
        return set(), None
    files, configuration, fold = found
    trained = [run.fold for run in files.folds_of(configuration) if run.finished]
    return _keys(files, [fold] if fold else list(folds or trained)), files


def _keys(files: DatasetFolder, names: Sequence[str]) -> set[str]:
    """Cases that any of these folds trains on."""
    if "all" in names:
        return {case.key for case in files.read_dataset().cases}
    known = files.read_folds()
    return {key for name in names for key in known.named(name).train}


def _resolved(files: Iterable[Path]) -> set[Path]:
    return {file.resolve() for file in files}
