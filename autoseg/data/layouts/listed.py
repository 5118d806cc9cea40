"""Cases that a dataset.json lists: nnU-Net's ``dataset``, the Decathlon's ``training``."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...core.names import first_of, short
from ...errors import DatasetError
from ...parts.readers import ending_of
from ..dataset import Case
from .folders import images_in, is_image, not_a_file, stem
from .grouping import CHANNEL, Sources, by_number, cases_of, in_order

Found = Mapping[str, tuple[Sources, Path]]
"""Case key to images and label."""


def explicit(folder: Path, listed: Any, channels: int) -> list[Case]:
    """nnU-Net's ``dataset``: case to ``{"images": [...], "label": ...}``, relative to the folder or absolute.

    An image that is null is a channel that the case lacks.
    """
    where = folder / "dataset.json"
    if not isinstance(listed, dict):
        raise DatasetError(f"{where}: `dataset` must map each case to its images and its label")
    cases, wrong = {}, []
    for key, entry in listed.items():
        images = entry.get("images") if isinstance(entry, dict) else None
        if isinstance(images, list) and _are_paths(images, channels) and _is_path(entry.get("label")):
            files = [None if image is None else folder / image for image in images]
            cases[key] = in_order(files, channels), folder / entry["label"]
        else:
            wrong.append(f'case {short(key)} must be {{"images": [...], "label": "..."}}, found {short(repr(entry))}')
    if wrong:
        raise DatasetError(f"{where}: {len(wrong)} entries of `dataset` name no files:\n{first_of(wrong, 10)}")
    return _checked(where, cases)


def decathlon(folder: Path, training: list[Any], channels: int) -> list[Case]:
    """The Decathlon's ``training``; nnU-Net v1 wrote the same list but split CASE into CASE_0000, CASE_0001, ..."""
    where = folder / "dataset.json"
    cases: dict[str, tuple[Sources, Path]] = {}
    wrong, splits = [], _Splits()
    keys: Counter[str] = Counter()
    for entry in training:
        if not (isinstance(entry, dict) and _is_path(entry.get("image")) and _is_path(entry.get("label"))):
            wrong.append(f"an entry must have image and label, found {short(repr(entry))}")
            continue
        image, label = folder / entry["image"], folder / entry["label"]
        unknown = [path.name for path in (image, label) if not is_image(path)]
        if unknown:
            wrong.append(f"{short(unknown[0])}: this kind of file cannot be read")
            continue
        split = [] if not_a_file(image) is None else splits.of(image)
        key = stem(label)
        keys[key] += 1
        cases[key] = by_number(stem(image), split or [image], channels), label
    wrong += [f"case {short(key)} is listed {count} times" for key, count in keys.items() if count > 1]
    if wrong:
        raise DatasetError(f"{where}: {len(wrong)} entries of `training` cannot be used:\n{first_of(wrong, 10)}")
    return _checked(where, cases)


class _Splits:
    """Mutable: files CASE_0000, CASE_0001, ... of folders, each of which is listed once."""

    def __init__(self) -> None:
        self._folders: dict[Path, dict[tuple[str, str], list[Path]]] = {}

    def of(self, image: Path) -> list[Path]:
        """The files that stand for ``image``, in order."""
        if image.parent not in self._folders:
            found = defaultdict(list)
            for path in images_in(image.parent):
                if match := CHANNEL.fullmatch(stem(path)):
                    found[match[1], ending_of(path)].append(image.parent / path.name)
            self._folders[image.parent] = found
        return self._folders[image.parent].get((stem(image), ending_of(image)), [])


def _are_paths(images: list[Any], channels: int) -> bool:
    """At least one path; null may stand for some of exactly as many as there are channels."""
    if not any(map(_is_path, images)):
        return False
    return all(map(_is_path, images)) or (
        len(images) == channels and all(image is None or _is_path(image) for image in images)
    )


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _checked(where: Path, cases: Found) -> list[Case]:
    if not cases:
        raise DatasetError(f"{where} lists no cases")
    missing = [
        f"case {short(key)}: {short(path, 200)} {problem}"
        for key, (images, label) in cases.items()
        for path in dict.fromkeys((*(source.file for source in images if source), str(label)))
        if (problem := not_a_file(Path(path))) is not None
    ]
    if missing:
        told = first_of(missing, 10)
        raise DatasetError(f"{where} lists files that are not there ({len(missing)}):\n{told}")
    return cases_of((key, images, label) for key, (images, label) in cases.items())
