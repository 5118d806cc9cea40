"""Which files of two folders are the reference and the prediction of one case."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TypeGuard

from ..core.labels import Labels
from ..core.masks import MaskLabels
from ..data.dataset import LabelFiles
from ..data.layouts.label_endings import without_ending
from ..data.layouts.masks import case_and_mask
from ..errors import DatasetError
from ..parts.readers import ENDINGS, ending_of

LOG = logging.getLogger("autoseg")
Pair = tuple[LabelFiles, LabelFiles]
"""Reference and prediction of one case."""


def find_pairs(
    reference: Path, predictions: Path, labels: Labels | None = None
) -> tuple[dict[str, Pair], tuple[str, ...]]:
    """Case to its files of both, and the cases without a prediction. Raises DatasetError when no case has both.

    ``labels`` None: whatever they are, they are one label map per case.
    """
    for path in (reference, predictions):
        if not path.exists():
            raise DatasetError(f"{path} does not exist")
    if reference.is_file() and predictions.is_file():
        if _are_files(labels):
            raise DatasetError("each mask is a file: give the folder of the references and that of the predictions")
        return {_key(reference): ((reference,), (predictions,))}, ()
    if reference.is_file() or predictions.is_file():
        raise DatasetError(f"{reference} and {predictions}: give two folders or two files, not one of each")
    wanted, found = _label_files(reference, labels), _label_files(predictions, labels)
    if not _are_files(labels) and wanted and not wanted.keys() & found.keys():
        wanted = _by_case(wanted, found, reference)
    pairs = {
        key: (_of_case(files, labels), _of_case(found[key], labels)) for key, files in wanted.items() if key in found
    }
    if not pairs:
        raise DatasetError(
            f"no file in {predictions} has the name of one in {reference}: "
            f"found {_some(found)}, expected {_some(wanted)}"
        )
    if surplus := sorted(set(found) - set(wanted)):
        LOG.info("%d predictions have no reference and are not scored: %s", len(surplus), _some(surplus))
    return pairs, tuple(sorted(set(wanted) - set(found)))


def name_of(case: str, files: LabelFiles, labels: Labels) -> str:
    """What a case with these files is called in their folder; ``case`` is its name in that of the references."""
    (first, *_) = [path for path in files if path]
    return case if _are_files(labels) else _key(first)


def _are_files(labels: Labels | None) -> TypeGuard[MaskLabels]:
    """Whether each mask is a file."""
    return isinstance(labels, MaskLabels) and not labels.in_channels


def _label_files(folder: Path, labels: Labels | None) -> dict[str, list[Path]]:
    """Case to its files."""
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.name.startswith(".") and path.name.lower().endswith(ENDINGS):
            said = case_and_mask(_key(path), labels) if _are_files(labels) else (_key(path), "")
            if said is None:
                LOG.warning("%s belongs to none of the masks; it is left out", path)
            else:
                files.setdefault(said[0], []).append(path)
    return files


def _key(path: Path) -> str:
    return path.name.removesuffix(ending_of(path))


def _by_case(wanted: dict[str, list[Path]], found: dict[str, list[Path]], folder: Path) -> dict[str, list[Path]]:
    """``wanted``, named as the cases that were ``found`` where ``p7_seg.nii.gz`` is the reference of ``p7``."""
    images, labels = ({name: paths[0] for name, paths in files.items()} for files in (found, wanted))
    named = without_ending(images.values(), labels, folder)
    return {case: wanted[_key(path)] for case, path in named.items()}


def _of_case(files: list[Path], labels: Labels | None) -> LabelFiles:
    """One file, or one for each mask; None for a mask without one."""
    if not _are_files(labels):
        return (_only(files, "case"),)
    found: dict[str, list[Path]] = {}
    for path in files:
        _, mask = case_and_mask(_key(path), labels) or ("", "")
        found.setdefault(mask, []).append(path)
    return tuple(_only(found[mask], "mask") if mask in found else None for mask in labels.masks)


def _only(files: list[Path], of: str) -> Path:
    if len(files) > 1:
        raise DatasetError(f"several files for one {of}: {', '.join(map(str, files))}. Keep one of them")
    return files[0]


def _some(keys: Iterable[str]) -> str:
    names = list(keys)
    return (", ".join(names[:5]) + (", ..." if len(names) > 5 else "")) or "nothing"
