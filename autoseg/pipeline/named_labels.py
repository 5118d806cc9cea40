"""What the values of label files are called: a dataset.json beside them says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..core.geometry import Geometry
from ..core.labels import ExclusiveLabels, Labels
from ..core.masks import MaskLabels
from ..core.records import from_json
from ..data import dataset_json
from ..data.dataset import Dataset, LabelFiles
from ..data.label_maps import files_in, read_label_map
from ..data.layouts.masks import case_and_mask
from ..errors import DatasetError
from ..parts.readers import ending_of, read_labels

MOST_VALUES = 500  # that are taken for labels where none are named


def beside(labelled: Path) -> list[Path]:
    """Where a dataset.json may name the labels of a file, or of a folder of them."""
    folder = labelled if labelled.is_dir() else labelled.absolute().parent
    return [folder / "dataset.json", folder.parent / "dataset.json"]


def named_labels(places: Sequence[Path], given: Path | None) -> Labels | None:
    """None where no dataset.json names them: neither the ``given`` one nor one of those ``places``."""
    there = [path for path in places if path.exists()]
    if given is None and not there:
        return None
    path = given or there[0]
    description = dataset_json.read(path)
    if isinstance(description.get("labels"), dict) and "kind" in description["labels"]:  # autoseg's own, in a workspace
        record: Dataset = from_json(Dataset, description, where=path.name)
        return record.labels
    return dataset_json.labels_of(description, path)


@dataclass(frozen=True)
class NamedMap:
    """A label map and what its values are called."""

    array: np.ndarray
    """The user's values (z, y, x), of masks their map."""
    geometry: Geometry
    labels: Labels

    @classmethod
    def read(cls, path: Path) -> NamedMap:
        """Of a file. Where each mask is a file, also of the other masks of that case which lie beside it.

        Without a dataset.json in its folder or the one above, 0 is background and every other value a label. Raises
        ImageFileError for a file that cannot be read, DatasetError for one that is no label map or holds other values
        than dataset.json names.
        """
        labels = named_labels(beside(path), None)
        if labels is None:
            array, geometry = read_labels(path)
            return cls(array, geometry, _labels_in(array, path))
        files: LabelFiles = (path,)
        if isinstance(labels, MaskLabels) and not labels.in_channels:
            labels, files = replace(labels, absent_are_empty=True), _masks_beside(path, labels)
        array, geometry = read_label_map(files, labels)
        return cls(array, geometry, labels)

    @property
    def indices(self) -> np.ndarray:
        """Label indices instead of values. Raises DatasetError for a value that no label has."""
        return self.labels.encode(self.array)

    def of_label(self, name: str) -> np.ndarray:
        """Which label indices belong to the label, bool."""
        where = {int(value): index for index, value in enumerate(self.labels.values)}
        found = np.zeros(len(where) + 1, bool)
        found[[where[value] for value in self.labels.foreground[name]]] = True
        return found


def _masks_beside(path: Path, labels: MaskLabels) -> LabelFiles:
    ending = ending_of(path)
    said = case_and_mask(path.name.removesuffix(ending), labels)
    if said is None:
        raise DatasetError(f"{path}: its name ends in none of the masks {', '.join(labels.masks)} of dataset.json")
    return tuple(file if file.exists() else None for file in files_in(path.parent, said[0], ending, labels))


def _labels_in(array: np.ndarray, path: Path) -> Labels:
    values = [value for value in np.unique(array).tolist() if value != 0]
    if len(values) > MOST_VALUES:
        raise DatasetError(f"{path}: holds {len(values)} different values; is this an image and not a label map?")
    return ExclusiveLabels({"background": 0} | {f"label_{value}": value for value in values or [1]})
