"""Probabilities that `predict` or validation left beside label maps, one label at a time: what some metrics look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from ..core.labels import Labels
from ..errors import DatasetError, UsageError
from ..evaluation.scores import Probabilities
from ..parts.readers import read_file
from ..preprocessing.arrays import read_array
from ..preprocessing.spatial import not_resampled

FOLDER = "probabilities"
ENDING, STORED = ".nii.gz", ".b2nd"  # of the outputs `probabilities` and `stored_probabilities`
ONE = (1 << 16) - 1  # the code of probability 1


def probability_files(keys: Mapping[str, str], predictions: Path) -> dict[str, Path]:
    """Case to the file of its probabilities in the folder ``predictions``; ``keys`` are the cases' names there.

    Raises UsageError where one has none.
    """
    found: dict[str, Path] = {}
    for case, key in keys.items():
        candidates = [predictions / FOLDER / f"{key}{ending}" for ending in (STORED, ENDING)]
        there = [path for path in candidates if path.is_file()]
        if not there:
            raise UsageError(
                f"case {case}: a metric of probabilities needs {candidates[1]}, which `autoseg predict "
                "--probabilities` writes; predict so, or leave that metric out of --metrics"
            )
        found[case] = there[0]
    return found


def probabilities_in(path: Path, labels: Labels, shape: tuple[int, ...]) -> Probabilities:
    """Reads a label's probability (z, y, x), uint16 in parts of 65535; ``labels`` are those of the model.

    Raises DatasetError for probabilities of other labels, or of an image that is not of ``shape``, and ImageFileError
    for what is damaged.
    """
    channels, found, channel = _stored(path) if path.name.endswith(STORED) else _written(path)
    heads = labels.head_names
    if channels != len(heads):
        raise DatasetError(
            f"{path}: has {channels} channels, expected {len(heads)}, one for each of {', '.join(heads[:20])}; name "
            "the labels of the model with --labels"
        )
    if found != shape:
        raise DatasetError(
            f"{path}: its {' x '.join(map(str, found))} voxels are not those of the label map beside it; predict both "
            "together"
        )

    def read(name: str) -> np.ndarray:
        if name not in heads:
            raise DatasetError(f"{path}: holds no probability of {name!r}, but of {', '.join(heads[:20])}")
        return channel(heads.index(name))

    return read


Channel = Callable[[int], np.ndarray]


def _written(path: Path) -> tuple[int, tuple[int, ...], Channel]:
    """How many channels of which shape, and what reads them."""
    array, geometry = read_file(path)

    def channel(number: int) -> np.ndarray:
        codes: np.ndarray = np.rint(array[number].astype(np.float32) * ONE).clip(0, ONE).astype(np.uint16)
        return codes

    return len(array), geometry.shape, channel


def _stored(path: Path) -> tuple[int, tuple[int, ...], Channel]:
    """Likewise. What was cropped away is certainly background."""
    from ..inference.stored_probabilities import open_stored  # imports torch

    stored = open_stored(path)

    def channel(number: int) -> np.ndarray:
        whole = np.zeros(stored.geometry.shape, np.uint16)
        codes = read_array(path, (slice(number, number + 1), slice(None), slice(None), slice(None)))[0]
        stored.before.apply(whole, not_resampled)[...] = codes.astype(np.uint16) * np.uint16(ONE // stored.one)
        return whole

    return stored.shape[0], stored.geometry.shape, channel
