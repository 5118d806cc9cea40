"""imagesTr/ and labelsTr/ where each mask of a case is a file of its own, ``CASE_MASK.nii.gz``."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from ...core.masks import MaskLabels
from ...core.names import first_of, short
from ...errors import DatasetError
from ...parts.readers import ending_of
from .folders import images_in, nothing_in, stem
from .grouping import Masks, grouped

FilesWithMasks = tuple[str, list[Path], Masks]
"""The key of a case, its image files sorted by name, and its masks."""


def case_and_mask(name: str, labels: MaskLabels) -> tuple[str, str] | None:
    """What the name of a file without its ending says; None where it ends in no mask. No name ends in two of them."""
    found = (mask for mask in labels.masks if name.endswith(f"_{mask}") and len(name) > len(mask) + 1)
    return next(((name[: -len(mask) - 1], mask) for mask in found), None)


def masks_in(folder: Path, labels: MaskLabels) -> tuple[dict[str, dict[str, Path]], list[str]]:
    """Case to its masks by name, and what is wrong with other files. Raises DatasetError where there are no files."""
    cases: dict[str, dict[str, Path]] = defaultdict(dict)
    wrong = []
    for path in images_in(folder) or nothing_in(folder):
        said = case_and_mask(stem(path), labels)
        if said is None:
            wrong.append(f"{short(path.name)} belongs to no mask: its name must end in _ and one of them")
            continue
        case, mask = said
        if mask in cases[case]:
            wrong.append(f"case {short(case)}: two files of one mask, {cases[case][mask].name} and {path.name}")
        cases[case][mask] = path
    return cases, wrong


def with_masks(images: list[Path], folder: Path, labels: MaskLabels) -> list[FilesWithMasks]:
    """Cases from image files and the masks in ``folder``. Raises DatasetError naming every file that does not fit."""
    cases, wrong = masks_in(folder, labels)
    unlabelled = {stem(path) for path in images} - set(cases)
    groups = grouped(images, lambda name: name in cases or f"{name}_0000" in unlabelled, whole=cases)
    wrong += [f"{_shown(cases[key])}: there is no image of case {short(key)}" for key in cases if key not in groups]
    for key, files in groups.items():
        there = cases.get(key, {})
        ending = ending_of(next(iter(there.values()), files[0]))
        if not labels.absent_are_empty:
            absent = [f"{key}_{mask}{ending}" for mask in labels.masks if mask not in there]
            wrong += [f"case {short(key)}: {short(name)} is missing" for name in absent]
    if wrong:
        told = first_of(sorted(short(line, 300) for line in wrong))
        rule = (
            f"{folder} must hold CASE_MASK{ending_of(images[0])} for each MASK of {short(', '.join(labels.masks), 300)}"
        )
        raise DatasetError(
            f"images and masks do not match ({len(wrong)}). {rule}.{_hint(groups, wrong, labels)}\n{told}"
        )
    return [(key, files, tuple(map(cases.get(key, {}).get, labels.masks))) for key, files in groups.items()]


def _shown(masks: dict[str, Path]) -> str:
    return ", ".join(short(path.name) for path in list(masks.values())[:3])


def _hint(groups: dict[str, list[Path]], wrong: list[str], labels: MaskLabels) -> str:
    """What may be meant."""
    if any(line.startswith(f"{key}.") for key in groups for line in wrong):
        return ' If CASE holds all masks as channels of one file, write "masks_in_channels": true.'
    if any(line.endswith("is missing") for line in wrong) and not labels.absent_are_empty:
        return ' If a case without a file has nothing of that mask, write "absent_masks_are_empty": true.'
    return ""
