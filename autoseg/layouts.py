"""From folders to cases: nnU-Net's raw layout, the Medical Segmentation Decathlon's, or plain images/ and labels/.

Which files make up a case is decided by the label files where there are any: ``CASE.nii.gz`` belongs to an image
``CASE.nii.gz`` (all channels in one file) or to ``CASE_0000.nii.gz``, ``CASE_0001.nii.gz``, ... (a file per channel).
"""

from __future__ import annotations

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from . import dataset_json
from .core.labels import ExclusiveLabels, Labels
from .core.machine import cores
from .core.parallel import ordered_map
from .core.regions import refuse_lossy
from .dataset import Case, Dataset
from .errors import DatasetError, ImageFileError
from .parts.readers import ENDINGS, ending_of, read_header, read_labels

LOG = logging.getLogger("autoseg")
MOST_VALUES = 1000  # a file with more distinct values than this is an image, not a label map
_CHANNEL = re.compile(r"(.+)_(\d{4})")


def read_dataset(folder: Path) -> Dataset:
    """All labelled cases in ``folder``. Raises DatasetError naming every file that does not fit."""
    folder = folder.absolute()
    if not folder.is_dir():
        raise DatasetError(f"{folder}: there is no such folder")
    if not (folder / "dataset.json").is_file():
        return _plain(folder)
    where = folder / "dataset.json"
    description = dataset_json.read(where)
    channels, labels = dataset_json.channels_of(description, where), dataset_json.labels_of(description, where)
    refuse_lossy(labels, where)
    layout, cases = _described(folder, description)
    announced = description.get("numTraining")
    if isinstance(announced, int) and announced != len(cases):
        LOG.warning("%s: numTraining is %d, but there are %d cases; taking these", where, announced, len(cases))
    return replace(
        _dataset(folder, channels, labels, cases, layout),
        licence=dataset_json.text_of(description, "licence", "license"),
        citation=dataset_json.text_of(description, "citation", "reference"),
    )


def read_dataset_labels(path: Path) -> Labels:
    """The labels that a dataset.json names. Raises DatasetError."""
    return dataset_json.labels_of(dataset_json.read(path), path)


def find_images(source: Path | Sequence[Path], channels: int) -> tuple[Case, ...]:
    """The cases to predict in a file, a folder or several files, sorted by key.

    Raises DatasetError naming the cases whose files do not add up to ``channels``.
    """
    paths: list[Path] = []
    for path in [source] if isinstance(source, Path) else source:
        if path.is_dir():
            paths += _images_in(path) or _nothing_in(path)
        elif path.is_file():
            paths.append(path.absolute())
        else:
            raise DatasetError(f"{path}: there is no such file or folder")
    numbered = {_stem(path) for path in paths}
    groups = _group(paths, lambda stem: f"{stem}_0000" in numbered)
    wrong = [problem for key, files in groups.items() if (problem := _wrong_channels(key, files, channels))]
    if wrong:
        raise DatasetError("\n".join(wrong))
    return tuple(_case(key, files, None) for key, files in sorted(groups.items()))


def _wrong_channels(key: str, files: list[Path], channels: int) -> str | None:
    stems = Counter(map(_stem, files))
    twice = [stem for stem, count in stems.items() if count > 1]
    if twice:
        return f"case {key}: {twice[0]} is given twice ({', '.join(map(str, files))}); rename or leave one out"
    if len(files) != channels and sum(read_header(path).channels for path in files) != channels:
        names = ", ".join(path.name for path in files)
        missing = [f"{key}_{number:04d}" for number in range(channels) if f"{key}_{number:04d}" not in stems]
        hint = f"; {', '.join(missing)} is missing" if missing and len(files) < channels else ""
        return f"case {key}: the model needs {channels} channels, found {names}{hint}"
    return None


def _described(folder: Path, description: dict[str, Any]) -> tuple[str, list[Case]]:
    """Layout and cases of a folder with a dataset.json."""
    if "dataset" in description:
        return "nnunet", _listed(folder, _explicit(folder, description["dataset"]))
    training = description.get("training")
    if isinstance(training, list) and "file_ending" not in description:
        listed = _listed(folder, _decathlon(folder, training))
        split = any(_CHANNEL.fullmatch(_stem(Path(path))) for path in listed[0].images)
        return ("nnunet" if split else "msd"), listed
    images = _images_in(folder / "imagesTr")
    ending = description.get("file_ending")
    if ending is not None:
        chosen = [path for path in images if path.name.lower().endswith(str(ending).lower())]
        images = chosen or _no_cases(folder / "imagesTr", images, str(ending))
    return "nnunet", _paired(images or _nothing_in(folder / "imagesTr"), folder / "labelsTr")


def _explicit(folder: Path, listed: Any) -> dict[str, tuple[list[Path], Path]]:
    """nnU-Net's ``dataset``: case to ``{"images": [...], "label": ...}``, relative to the folder or absolute."""
    if not isinstance(listed, dict):
        raise DatasetError(f"{folder / 'dataset.json'}: `dataset` must map each case to its images and its label")
    cases = {}
    for key, entry in listed.items():
        images = entry.get("images") if isinstance(entry, dict) else None
        if not isinstance(images, list) or not images or not isinstance(entry.get("label"), str):
            raise DatasetError(
                f'{folder / "dataset.json"}: case {key!r} must be {{"images": [...], "label": "..."}}, found {entry!r}'
            )
        cases[key] = ([folder / image for image in images], folder / entry["label"])
    return cases


def _decathlon(folder: Path, training: list[Any]) -> dict[str, tuple[list[Path], Path]]:
    """The Decathlon's ``training``; nnU-Net v1 wrote the same list but split CASE into CASE_0000, CASE_0001, ..."""
    cases = {}
    for entry in training:
        if not isinstance(entry, dict) or not {"image", "label"} <= set(entry):
            raise DatasetError(f"{folder / 'dataset.json'}: `training` must list image and label, found {entry!r}")
        image, label = folder / entry["image"], folder / entry["label"]
        split = sorted(image.parent.glob(f"{_stem(image)}_[0-9][0-9][0-9][0-9]{ending_of(image)}"))
        cases[_stem(label)] = ([image] if image.exists() else split or [image], label)
    return cases


def _listed(folder: Path, cases: Mapping[str, tuple[list[Path], Path]]) -> list[Case]:
    if not cases:
        raise DatasetError(f"{folder / 'dataset.json'} lists no cases")
    missing = [
        f"case {key}: {path} does not exist"
        for key, (images, label) in cases.items()
        for path in (*images, label)
        if not path.exists()
    ]
    if missing:
        raise DatasetError(f"{folder / 'dataset.json'} lists files that are not there:\n" + "\n".join(missing))
    return [_case(key, images, label) for key, (images, label) in cases.items()]


def _plain(folder: Path) -> Dataset:
    """images/ and labels/ only: channels from the files, labels from their values."""
    images = next((folder / name for name in ("images", "imagesTr") if (folder / name).is_dir()), None)
    labels = next((folder / name for name in ("labels", "labelsTr", "masks") if (folder / name).is_dir()), None)
    if images is None or labels is None:
        raise DatasetError(
            f"{folder}: not a dataset. Expected dataset.json with imagesTr and labelsTr, or the folders images and "
            f"labels; found {', '.join(sorted(path.name for path in folder.iterdir())[:10]) or 'nothing'}"
        )
    cases = _paired(_images_in(images) or _nothing_in(images), labels)
    first = cases[0]
    count = sum(read_header(Path(path)).channels for path in first.images)
    if (
        count == 3
        and len(first.images) == 1
        and ending_of(first.images[0]).lower() in (".png", ".jpg", ".jpeg", ".bmp")
    ):
        channels: tuple[str, ...] = ("R", "G", "B")
    else:
        channels = tuple(f"channel_{number}" for number in range(count))
    return _dataset(folder, channels, _inferred_labels(cases), cases, "plain")


def _inferred_labels(cases: list[Case]) -> Labels:
    """Every value of every label file; 0 is background, or else the smallest value."""

    def values(case: Case) -> np.ndarray:
        found = np.unique(read_labels(Path(str(case.label)))[0])
        if len(found) > MOST_VALUES:
            raise DatasetError(f"{case.label}: {len(found)} different values; is this an image and not a label map?")
        return found

    found = sorted({value for each in ordered_map(values, cases, cores()) for value in each.tolist()})
    background = 0 if 0 in found else found[0]
    named = {f"label_{value}": value for value in found if value != background}
    if not named:
        raise DatasetError(f"all label maps hold the value {background} only: there is nothing to learn")
    LOG.info("no dataset.json: taking %d as background and %s as labels", background, list(named.values()))
    return ExclusiveLabels({"background": background} | named)


def _dataset(folder: Path, channels: tuple[str, ...], labels: Labels, cases: list[Case], layout: str) -> Dataset:
    ending = ending_of(str(cases[0].label))
    ending = ".mha" if ending.lower() == ".mhd" else ending  # the same format in one file: that can be atomic
    ordered = tuple(sorted(cases, key=lambda case: case.key))
    try:
        return Dataset(folder.name, str(folder), channels, labels, ordered, ending, layout)
    except ValueError as error:
        raise DatasetError(f"{folder}: {error}") from None


def _paired(images: list[Path], labels_folder: Path) -> list[Case]:
    """Cases from image files and label files, matched by name whatever their endings."""
    labels: dict[str, Path] = {}
    wrong = []
    for path in _images_in(labels_folder) or _nothing_in(labels_folder):
        if _stem(path) in labels:
            wrong.append(f"case {_stem(path)}: two label files, {labels[_stem(path)].name} and {path.name}; keep one")
        labels[_stem(path)] = path
    unlabelled = {_stem(path) for path in images} - set(labels)
    groups = _group(images, lambda stem: stem in labels or f"{stem}_0000" in unlabelled, whole=labels)
    for key, files in groups.items():
        stems = [_stem(path) for path in files]
        if len(set(stems)) < len(stems):
            wrong.append(f"case {key}: several files of one name, {', '.join(path.name for path in files)}; keep one")
    wrong += [f"case {key}: no label in {labels_folder}" for key in groups if key not in labels]
    wrong += [f"case {key}: {path.name} has no image beside it" for key, path in labels.items() if key not in groups]
    if wrong:
        rule = "CASE_0000.nii.gz (or CASE.nii.gz) is labelled by CASE.nii.gz; add what is missing or remove the rest"
        raise DatasetError(f"images and labels do not match ({len(wrong)}). {rule}:\n" + "\n".join(sorted(wrong)))
    return [_case(key, files, labels[key]) for key, files in groups.items()]


def _group(paths: Iterable[Path], is_case: Callable[[str], bool], whole: Iterable[str] = ()) -> dict[str, list[Path]]:
    """Case key to files in channel order; ``CASE_0001`` is a channel of CASE if that is a case, else its own case."""
    names, groups = set(whole), defaultdict(list)
    for path in paths:
        stem = _stem(path)
        channel = _CHANNEL.fullmatch(stem)
        key = channel[1] if channel and stem not in names and is_case(channel[1]) else stem
        groups[key].append(path)
    return {key: sorted(files, key=_stem) for key, files in groups.items()}


def _case(key: str, images: Iterable[Path], label: Path | None) -> Case:
    files = tuple(map(str, images))
    try:
        return Case(key, files, None if label is None else str(label))
    except ValueError as error:
        raise DatasetError(f"{files[0]}: {error}") from None


def _stem(path: Path) -> str:
    return path.name[: -len(ending_of(path))]


def _is_image(path: Path) -> bool:
    try:
        ending_of(path)
    except ImageFileError:
        return False
    return not path.name.startswith(".")  # such as macOS's ._CASE.nii.gz, which are no images


def _images_in(folder: Path) -> list[Path]:
    return sorted(path.absolute() for path in folder.iterdir() if _is_image(path)) if folder.is_dir() else []


def _nothing_in(folder: Path) -> list[Path]:
    """Raises: there is no image in ``folder``."""
    if not folder.is_dir():
        raise DatasetError(f"{folder}: there is no such folder")
    return _no_cases(folder, [path for path in folder.iterdir() if not path.name.startswith(".")], " or ".join(ENDINGS))


def _no_cases(folder: Path, found: list[Path], expected: str) -> list[Path]:
    """Raises: none of the files found has the expected ending."""
    endings = Counter(ending_of(path) if _is_image(path) else path.suffix or "a folder or no ending" for path in found)
    there = ", ".join(f"{count} ending {ending}" for ending, count in endings.most_common(5)) or "nothing"
    raise DatasetError(f"{folder}: no cases. Expected files ending {expected}; found {there}")
