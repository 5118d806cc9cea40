"""Cases that a dataset.json lists: nnU-Net's ``dataset``, the Decathlon's ``training``."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...core.channels import ChannelSource, channel_number
from ...core.labels import Labels
from ...core.masks import MaskLabels
from ...core.names import first_of, short
from ...errors import DatasetError, UsageError
from ...parts.readers import ending_of
from ..dataset import Case
from ..modalities import only
from .folders import images_in, is_image, not_a_file, stem
from .grouping import CHANNEL, Masks, Sources, by_number, by_source, cases_of, chosen, in_order

Found = Mapping[str, tuple[Sources, Path | Masks]]
"""Case key to images and label, or masks."""


def explicit(
    folder: Path, listed: Any, names: Sequence[str], labels: Labels, sources: Sequence[ChannelSource] = ()
) -> list[Case]:
    """nnU-Net's ``dataset``: case to ``{"images": [...], "label": ...}``, relative to the folder or absolute.

    An image that is null is a channel that the case lacks; a case with a ``modality``, the name or number of a channel
    of ``names``, has one image, which is that channel. Where each mask is a file, the label is ``{MASK: path}``.
    Where ``sources`` choose, images are files in the order of their numbers; null is a file that the case lacks.
    """
    where = folder / "dataset.json"
    if not isinstance(listed, dict):
        raise DatasetError(f"{where}: `dataset` must map each case to its images and its label")
    cases, wrong, channels = {}, [], len(names)
    files_needed = max((source.file + 1 for source in sources), default=channels)
    for key, entry in listed.items():
        images = entry.get("images") if isinstance(entry, dict) else None
        label = _label(folder, entry.get("label"), labels) if isinstance(entry, dict) else "is no object"
        modality = _modality(entry, images, names)
        if isinstance(modality, str):
            wrong.append(f"case {short(key)}: {modality}")
        elif modality is not None and images and not isinstance(label, str):
            cases[key] = only(modality, folder / images[0], channels), label
        elif isinstance(images, list) and _are_paths(images, files_needed) and not isinstance(label, str):
            files = [None if image is None else folder / image for image in images]
            cases[key] = chosen(key, dict(enumerate(files)), sources) if sources else in_order(files, channels), label
        elif isinstance(label, str) and isinstance(labels, MaskLabels):
            wrong.append(f"case {short(key)}: {label}")
        else:
            wrong.append(f'case {short(key)} must be {{"images": [...], "label": "..."}}, found {short(repr(entry))}')
    if wrong:
        raise DatasetError(f"{where}: {len(wrong)} entries of `dataset` name no files:\n{first_of(wrong, 10)}")
    return _checked(where, cases)


def _modality(entry: Any, images: Any, names: Sequence[str]) -> int | str | None:
    """The channel that a case's one image is; what is wrong with it, in words. None: the entry says nothing of it."""
    said = entry.get("modality") if isinstance(entry, dict) else None
    if said is None:
        return None
    if not isinstance(images, list) or len(images) != 1 or not _is_path(images[0]):
        return f"a case with a modality has one image, found {short(images)}"
    if not isinstance(said, str | int) or isinstance(said, bool):
        return f"its modality must be the name of a channel, found {short(said)}"
    try:
        return channel_number(str(said), names, "its modality")
    except UsageError as error:
        return str(error)


def _label(folder: Path, said: Any, labels: Labels) -> Path | Masks | str:
    """The file, or files, that an entry names; what is wrong with it, in words."""
    if not isinstance(labels, MaskLabels) or labels.in_channels:
        return folder / said if _is_path(said) else 'its "label" must name a file'
    if not isinstance(said, dict) or not all(file is None or _is_path(file) for file in said.values()):
        return f'its "label" must name a file for each mask, {{"{short(labels.masks[0])}": "...", ...}}'
    if unknown := [name for name in said if name not in labels.masks]:
        return f"{short(unknown[0])!r} is not among the masks {short(', '.join(labels.masks), 300)}"
    absent = [name for name in labels.masks if said.get(name) is None]
    if absent and not labels.absent_are_empty:
        return (
            f"the mask {short(absent[0])!r} has no file; if such a case has nothing of it, write "
            '"absent_masks_are_empty": true'
        )
    return tuple(None if said.get(name) is None else folder / said[name] for name in labels.masks)


def decathlon(
    folder: Path, training: list[Any], names: Sequence[str], sources: Sequence[ChannelSource] = ()
) -> list[Case]:
    """The Decathlon's ``training``; nnU-Net v1 wrote the same list but split CASE into CASE_0000, CASE_0001, ...

    An entry may have a ``modality``, as in ``explicit``.
    """
    where, channels = folder / "dataset.json", len(names)
    cases: dict[str, tuple[Sources, Path | Masks]] = {}
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
        files, name = split or [image], stem(image)
        modality = _modality(entry, [str(path) for path in files], names)
        if isinstance(modality, str):
            wrong.append(f"case {short(key)}: {modality}")
        elif modality is not None:
            cases[key] = only(modality, files[0], channels), label
        else:
            cases[key] = by_source(name, files, sources) if sources else by_number(name, files, channels), label
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
    return isinstance(value, str) and bool(value.strip()) and "\0" not in value


def _paths(label: Path | Masks) -> list[str]:
    return [str(path) for path in (label if isinstance(label, tuple) else (label,)) if path is not None]


def _checked(where: Path, cases: Found) -> list[Case]:
    if not cases:
        raise DatasetError(f"{where} lists no cases")
    missing = [
        f"case {short(key)}: {short(path, 200)} {problem}"
        for key, (images, label) in cases.items()
        for path in dict.fromkeys((*(source.file for source in images if source), *_paths(label)))
        if (problem := not_a_file(Path(path))) is not None
    ]
    if missing:
        told = first_of(missing, 10)
        raise DatasetError(f"{where} lists files that are not there ({len(missing)}):\n{told}")
    return cases_of((key, images, label) for key, (images, label) in cases.items())
