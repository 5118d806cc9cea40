"""Tasks of the Medical Segmentation Decathlon (medicaldecathlon.com): dataset.json lists the files, channels in 4-D."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from ...core.labels import ExclusiveLabels
from ...core.names import short
from ...data import dataset_json
from ...data.dataset_json import text_of
from ...errors import AutosegError, DatasetError
from ...parts.readers import ending_of
from ..conversion import ConversionOptions, Found, FoundCase, ImageFile, label_source, numbered

LONGEST_TEXT = 10_000  # characters
ABOUT = {"licence": "licence", "license": "licence", "reference": "reference", "description": "description"}


@dataclass(frozen=True)
class Decathlon:
    """Everything is in dataset.json."""

    description: str = "a task of the Medical Segmentation Decathlon: 4-D images become a file per channel"

    def find(self, source: Path, wanted: ConversionOptions) -> Found:
        """The cases of ``training`` and, unlabelled, of ``test``. Raises DatasetError for another kind of folder."""
        where = source / "dataset.json"
        if not where.is_file():
            raise DatasetError(f"{source} is no Decathlon task: there is no dataset.json in it")
        if wanted.channels or wanted.label is not None:
            raise DatasetError(f"{where} says which files are what; --channel and --label are for other kinds")
        described = dataset_json.read(where)
        channels = dataset_json.channels_of(described, where)
        labels = dataset_json.labels_of(described, where)
        training, test = described.get("training"), described.get("test", [])
        if not isinstance(labels, ExclusiveLabels) or not isinstance(training, list) or not isinstance(test, list):
            raise DatasetError(f"{where}: expected `training`, a list of images and their labels, and a list as `test`")
        cases, problems = [], []
        for entry in (*training, *test):
            image, label = _files(entry, where)
            try:
                found = [_inside(name, source) for name in (image, label) if name is not None]
                key = found[0].name[: -len(ending_of(found[0]))]
            except AutosegError as error:
                problems.append(f"{short(image)!r}: {error}")
                continue
            reference = None if label is None else label_source(found[1], wanted.labels, wanted)
            cases.append(FoundCase(key, (ImageFile(found[0], wanted.keep_headers),), reference, {"image": image}))
        about = {key: text[:LONGEST_TEXT] for name, key in ABOUT.items() if (text := text_of(described, name))}
        named = numbered(wanted.labels) or dict(labels.names)
        return Found(channels, tuple(sorted(cases, key=lambda case: case.key)), tuple(problems), named, about)


def _files(entry: Any, where: Path) -> tuple[str, str | None]:
    if isinstance(entry, str):
        return entry, None
    if not isinstance(entry, dict) or not isinstance(entry.get("image"), str):
        raise DatasetError(f"{where}: expected an image and its label, found {short(repr(entry))}")
    label = entry.get("label")
    if label is not None and not isinstance(label, str):
        raise DatasetError(f"{where}: expected the path of a label map, found {short(repr(label))}")
    return entry["image"], label


def _inside(name: str, source: Path) -> Path:
    """The file of this name below ``source``. Raises DatasetError for one that is elsewhere, or not there."""
    path, inner = source / name, PurePath(os.path.normpath(name))
    if inner.anchor or ".." in inner.parts:
        raise DatasetError(f"the path leads out of {source}; put the file there")
    if not os.path.isfile(path):  # False for what can be no path as well
        raise DatasetError(f"{short(str(path), 300)!r} is not there")
    return path


CONVERSION = Decathlon()
