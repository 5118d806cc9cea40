"""What DATASET means on the command line: a path, ``Dataset004_Hippocampus``, ``Hippocampus`` or ``4``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .core.names import short
from .errors import UsageError
from .workspace import Workspace

_FULL_NAME = re.compile(r"(?:Dataset|Task)([0-9]{1,9})_(.+)")  # nnU-Net v2's and v1's
_NUMBER = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True)
class FoundDataset:
    """A dataset that was named on the command line."""

    name: str
    """Full name: the folder in the workspace that holds everything written for it."""
    folder: Path
    """The user's own folder with images and labels; it may have been removed since it was read."""


def find_dataset(name: str, workspace: Workspace, search: Sequence[Path] = (Path(),)) -> FoundDataset:
    """The dataset meant by a path, a full name, a bare name or a number.

    Names are looked up among the datasets in the workspace, then among the folders in ``search``. Raises UsageError
    when nothing or more than one thing fits, listing what there is.
    """
    known = workspace.dataset_names()
    chosen = _only([candidate for candidate in known if _fits(name, candidate)], name)
    folders = [path for place in search if place.is_dir() for path in sorted(place.iterdir()) if path.is_dir()]
    if chosen is not None:
        folder = Path(workspace.dataset_folder(chosen).read_dataset().folder)
        moved = [path.absolute() for path in folders if path.name == chosen and _is_dataset(path)]
        return FoundDataset(chosen, moved[0] if moved and not folder.is_dir() else folder)
    path = folder_called(name)
    if path is not None:
        return _at(path, workspace)
    fitting = [folder for folder in folders if _fits(name, folder.name) and _is_dataset(folder)]
    _only([folder.name for folder in fitting], name)
    if fitting:
        return _at(fitting[0], workspace)
    if Path(name).name == name and (lost := folder_called(str(workspace.root / name))) is not None:
        raise UsageError(
            f"{lost / 'dataset.json'} is not there; put back a copy, or run `autoseg plan_and_preprocess FOLDER` again"
        )
    there = [*known, *sorted({folder.name for folder in folders if _is_dataset(folder)} - set(known))]
    raise UsageError(
        f"there is no dataset {short(name)!r}: it is neither a folder nor the name of a known dataset. Looked for in "
        f"{workspace.root} and in the current folder. Known here: {some(there)}"
    )


def folder_called(name: str) -> Path | None:
    """The folder that a path leads to; None where it leads nowhere, or is none."""
    try:
        path = Path(name).expanduser()
        return path if name.strip() and path.is_dir() else None
    except (OSError, RuntimeError, ValueError):  # too long for a name; a home that nobody has; no text for the system
        return None


def some(names: Sequence[str], most: int = 20) -> str:
    """The first ones, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(short, names[:most])) + more or "none"


def _at(path: Path, workspace: Workspace) -> FoundDataset:
    path = path.resolve()
    if path.parent == workspace.root.resolve() and path.name in workspace.dataset_names():
        return FoundDataset(path.name, Path(workspace.dataset_folder(path.name).read_dataset().folder))
    return FoundDataset(path.name, path)


def _fits(name: str, full_name: str) -> bool:
    parts = _FULL_NAME.fullmatch(full_name)
    return name == full_name or (
        parts is not None and (name == parts[2] or (_NUMBER.fullmatch(name) is not None and int(name) == int(parts[1])))
    )


def _is_dataset(folder: Path) -> bool:
    return (folder / "imagesTr").is_dir() or (folder / "images").is_dir() or (folder / "dataset.json").is_file()


def _only(fitting: list[str], name: str) -> str | None:
    """The one name that fits, an exact one before others; None if none does."""
    if name in fitting:
        return name
    if len(fitting) > 1:
        raise UsageError(f"{short(name)!r} may mean {some(fitting)}; give the full name")
    return fitting[0] if fitting else None
