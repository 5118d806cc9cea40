"""Tasks of the Medical Segmentation Decathlon (medicaldecathlon.com): dataset.json lists the files, channels in 4-D."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ... import dataset_json
from ...core.labels import ExclusiveLabels
from ...errors import DatasetError
from ...parts.readers import ending_of
from ..conversion import Found, FoundCase, ImageFile, Wanted, label_source, numbered

ABOUT = {"licence": "licence", "license": "licence", "reference": "reference", "description": "description"}


@dataclass(frozen=True)
class Decathlon:
    """Everything is in dataset.json."""

    description: str = "a task of the Medical Segmentation Decathlon: 4-D images become a file per channel"

    def find(self, source: Path, wanted: Wanted) -> Found:
        """The cases of ``training`` and, unlabelled, of ``test``. Raises DatasetError for another kind of folder."""
        where = source / "dataset.json"
        if not where.is_file():
            raise DatasetError(f"{source} is no Decathlon task: there is no dataset.json in it")
        if wanted.channels or wanted.label is not None:
            raise DatasetError(f"{where} says which files are what; --channel and --label are for other kinds")
        described = dataset_json.read(where)
        channels = dataset_json.channels_of(described, where)
        labels = dataset_json.labels_of(described, where)
        if not isinstance(labels, ExclusiveLabels) or not isinstance(described.get("training"), list):
            raise DatasetError(f"{where}: expected `training`, a list of images and their labels")
        cases, problems = [], []
        for entry in (*described["training"], *described.get("test", [])):
            image, label = _files(entry, source, where)
            missing = [path for path in (image, label) if path is not None and not path.is_file()]
            key = image.name[: -len(ending_of(image))]
            if missing:
                problems.append(f"{key}: {missing[0]} is not there")
                continue
            found = None if label is None else label_source(label, wanted.labels)
            cases.append(FoundCase(key, (ImageFile(image),), found))
        about = {key: str(described[name]) for name, key in ABOUT.items() if described.get(name)}
        named = numbered(wanted.labels) or dict(labels.names)
        return Found(channels, tuple(sorted(cases, key=lambda case: case.key)), tuple(problems), named, about)


def _files(entry: Any, source: Path, where: Path) -> tuple[Path, Path | None]:
    if isinstance(entry, str):
        return source / entry, None
    if not isinstance(entry, dict) or not isinstance(entry.get("image"), str):
        raise DatasetError(f"{where}: expected an image and its label, found {entry!r}")
    label = entry.get("label")
    return source / entry["image"], source / label if isinstance(label, str) else None


CONVERSION = Decathlon()
