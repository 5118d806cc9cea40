"""From folders to cases: nnU-Net's raw layout, the Medical Segmentation Decathlon's, or plain images/ and labels/.

Which files make up a case is decided by the label files where there are any: ``CASE.nii.gz`` belongs to an image
``CASE.nii.gz`` (all channels in one file) or to ``CASE_0000.nii.gz``, ``CASE_0001.nii.gz``, ... (a file per channel).
So does ``CASE_MASK.nii.gz`` where each mask is a file.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...core.channels import ChannelSource
from ...core.labels import Labels
from ...core.masks import MaskLabels
from ...core.names import short
from ...core.regions import refuse_lossy
from ...errors import DatasetError, UsageError
from ...parts.readers import ending_of, holds_channels
from .. import dataset_json
from ..dataset import Case, Dataset
from .folders import images_in, is_image, no_cases, nothing_in, others_in, stem
from .grouping import CHANNEL, Sources, by_number, by_source, cases_of, paired
from .listed import decathlon, explicit
from .masks import with_masks
from .names import NO_NAMES, Names
from .plain import folders_of, plain
from .to_predict import find_images

__all__ = ["NO_NAMES", "Names", "find_images", "read_dataset", "read_dataset_labels"]
LOG = logging.getLogger("autoseg")


def read_dataset(folder: Path, names: Names = NO_NAMES) -> Dataset:
    """All labelled cases in ``folder``. Raises DatasetError naming every file that does not fit.

    ``names`` are for channels and labels of a folder without a dataset.json; raises UsageError where these are others.
    """
    folder = folder.absolute()
    if not folder.is_dir():
        raise DatasetError(f"{folder}: there is no such folder")
    if not (folder / "dataset.json").is_file():
        return _dataset(folder, *plain(folder, names), "plain")
    where = folder / "dataset.json"
    if names != NO_NAMES:
        raise UsageError(f"{where} names channels and labels; change it there, and leave --channels and --labels out")
    description = dataset_json.read(where)
    channels, labels = dataset_json.channels_of(description, where), dataset_json.labels_of(description, where)
    refuse_lossy(labels, where)
    sources = dataset_json.channel_sources_of(description, where)
    layout, cases = _described(folder, description, _Wanted(channels, labels, sources))
    announced = description.get("numTraining")
    if isinstance(announced, int) and announced != len(cases):
        LOG.warning("%s: numTraining is %s, but there are %d cases; taking these", where, announced, len(cases))
    return replace(
        _dataset(folder, channels, labels, cases, layout),
        licence=dataset_json.text_of(description, "licence", "license"),
        citation=dataset_json.text_of(description, "citation", "reference"),
        channel_sources=sources,
    )


def read_dataset_labels(path: Path) -> Labels:
    """The labels that a dataset.json names. Raises DatasetError."""
    return dataset_json.labels_of(dataset_json.read(path), path)


@dataclass(frozen=True)
class _Wanted:
    """What a dataset.json says of every case."""

    channels: tuple[str, ...]
    labels: Labels
    sources: tuple[ChannelSource, ...]

    @property
    def masks(self) -> MaskLabels | None:
        """Where each is a file."""
        labels = self.labels
        return labels if isinstance(labels, MaskLabels) and not labels.in_channels else None

    def images(self, key: str, files: list[Path]) -> Sources:
        """Where the channels of a case are."""
        return by_source(key, files, self.sources) if self.sources else by_number(key, files, len(self.channels))


def _described(folder: Path, description: dict[str, Any], wanted: _Wanted) -> tuple[str, list[Case]]:
    """Layout and cases of a folder with a dataset.json."""
    if "dataset" in description:
        return "listed", explicit(folder, description["dataset"], wanted.channels, wanted.labels, wanted.sources)
    training = description.get("training")
    if isinstance(training, list) and "file_ending" not in description and wanted.masks is None:
        cases = decathlon(folder, training, wanted.channels, wanted.sources)
        split = any(CHANNEL.fullmatch(stem(path)) for path in cases[0].image_files)
        return ("nnunet" if split else "msd"), cases
    ending = description.get("file_ending")
    if ending is not None and not isinstance(ending, str):
        raise DatasetError(
            f'{folder / "dataset.json"}: file_ending must be text such as ".nii.gz", found {short(repr(ending))}'
        )
    place, labelled, is_plain = folder / "imagesTr", folder / "labelsTr", False
    if not place.is_dir() and (found_folders := folders_of(folder)):
        (place, labelled), is_plain = found_folders, True
    images = images_in(place) or nothing_in(place)
    if ending:
        chosen = [path for path in images if path.name.lower().endswith(ending.lower())]
        images = chosen or no_cases(place, [*images, *others_in(place)], short(ending))
    if wanted.masks is not None:
        with_files = with_masks(images, labelled, wanted.masks)
        return "nnunet", cases_of((key, wanted.images(key, files), masks) for key, files, masks in with_files)
    pairs = paired(images, labelled, endings=is_plain)
    return "nnunet", cases_of((key, wanted.images(key, files), label) for key, files, label in pairs)


def _dataset(folder: Path, channels: tuple[str, ...], labels: Labels, cases: list[Case], layout: str) -> Dataset:
    label = next((file for case in cases for file in case.label_files if file), None)
    if label is None:
        raise DatasetError(f"{folder}: no case has any mask: there is nothing to learn")
    if not is_image(label):
        raise DatasetError(f"{short(str(label), 200)}: this kind of file cannot be read as a label map")
    ending = ending_of(label)
    if isinstance(labels, MaskLabels) and labels.in_channels and not holds_channels(label):
        raise DatasetError(
            f"{short(str(label), 200)}: predicted masks could not be written as channels of such a file; save them as "
            ".nii.gz, or give a file per mask"
        )
    ending = ".mha" if ending.lower() == ".mhd" else ending  # the same format in one file: that can be atomic
    ordered = tuple(sorted(cases, key=lambda case: case.key))
    try:
        return Dataset(folder.name, str(folder), channels, labels, ordered, ending, layout)
    except ValueError as error:
        raise DatasetError(f"{folder}: {error}") from None
