"""Workspaces of unlike data, each with a fold whose predictions are known: what a page must be able to show."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from reported import make_fold

from autoseg.cli import main
from autoseg.core.geometry import Geometry
from autoseg.core.labels import Labels
from autoseg.data import dataset_json
from autoseg.data.label_maps import files_in, write_label_map
from autoseg.parts.readers import write_channels
from autoseg.workspace import DatasetFolder, Workspace

CASES = [f"case_{number}" for number in range(6)]
VOLUME = Geometry.plain((12, 32, 40), (2.5, 1.0, 1.0))
PICTURE = Geometry.plain_2d((96, 112))
CHANNELS = ("T1", "T2", "FLAIR")


def discs(geometry: Geometry, places: list[tuple[float, float, float]], shift: float = 0.0) -> list[np.ndarray]:
    """Whether a voxel lies in each of the balls (row, column, radius), as shares of the slice's rows."""
    depth, rows, columns = geometry.shape
    z, y, x = np.ogrid[:depth, :rows, :columns]
    far = 0.0 if depth == 1 else 0.3 * np.abs(z - depth / 2) / depth
    return [
        (y / rows - row) ** 2 + ((x + shift) / rows - column) ** 2 < np.maximum(0, radius - far * radius * 2) ** 2
        for row, column, radius in places
    ]


def vessels(number: int, thick: float) -> np.ndarray:
    """Curves that leave the optic disc, 255."""
    _, rows, columns = PICTURE.shape
    y, x = np.ogrid[:rows, :columns]
    found = np.zeros((rows, columns), bool)
    for bend in (-30, -12, 14, 33):
        found |= np.abs(y - rows / 2 - bend * np.sin((x + 5 * number) / 40)) < thick
    return (255 * found[None]).astype(np.uint8)


def fundus(folder: Path) -> Callable[[str], np.ndarray]:
    """Colour pictures of an eye, as in retinal data: vessels are 255."""
    (folder / "imagesTr").mkdir(parents=True)
    random = np.random.default_rng(0)
    for number, key in enumerate(CASES):
        (eye,) = discs(PICTURE, [(0.5, 0.58, 0.46)])
        shade = np.where(eye[0], 1.0, 0.05) * np.where(vessels(number, 1.5)[0] > 0, 0.5, 1.0)
        colour = shade[..., None] * np.array([205, 110, 60]) + random.normal(0, 4, (*shade.shape, 3))
        PillowImage.fromarray(colour.clip(0, 255).astype(np.uint8)).save(folder / "imagesTr" / f"{key}_0000.png")
    description = {"channel_names": {"0": "R", "1": "G", "2": "B"}, "labels": {"background": 0, "vessel": 255}}
    _finish(folder, description | {"file_ending": ".png"}, PICTURE, lambda key: vessels(CASES.index(key), 1.5))
    return lambda key: vessels(CASES.index(key), 0.8 + 0.3 * (CASES.index(key) % 3))


def masks(folder: Path) -> Callable[[str], np.ndarray]:
    """Lung, heart and a lesion that overlap without being nested; a voxel of the map holds a bit for each."""
    places = [(0.5, 0.45, 0.36), (0.55, 0.7, 0.25), (0.4, 0.6, 0.1)]

    def drawn(key: str, shift: float = 0.0) -> np.ndarray:
        found = discs(VOLUME, places, CASES.index(key) + shift)
        return sum((mask.astype(np.uint8) << bit for bit, mask in enumerate(found)), np.zeros(VOLUME.shape, np.uint8))

    _images(folder, drawn, 1)
    description = {"channel_names": {"0": "CT"}, "masks": ["lung", "heart", "lesion"], "file_ending": ".nii.gz"}
    _finish(folder, description, VOLUME, drawn)
    return lambda key: drawn(key, 2.0)


def atlas(folder: Path) -> Callable[[str], np.ndarray]:
    """Thirty structures beside each other."""

    def drawn(key: str, shift: int = 0) -> np.ndarray:
        labels = np.zeros(VOLUME.shape, np.uint8)
        for value in range(1, 31):
            row, column = divmod(value - 1, 6)
            left = 1 + 6 * column + shift + CASES.index(key) % 3
            labels[2:10, 1 + 6 * row : 6 + 6 * row, left : left + 5] = value
        return labels

    _images(folder, drawn, 1)
    names = ["background", *(f"structure {value:02d} {'left' if value % 2 else 'right'}" for value in range(1, 31))]
    description = {"channel_names": {"0": "T1"}, "labels": {name: value for value, name in enumerate(names)}}
    _finish(folder, description | {"file_ending": ".nii.gz"}, VOLUME, drawn)
    return lambda key: drawn(key, 1)


def gaps(folder: Path) -> Callable[[str], np.ndarray]:
    """Three sequences, of which some cases lack one or two."""

    def drawn(key: str, shift: float = 0.0) -> np.ndarray:
        brain, lesion = discs(VOLUME, [(0.5, 0.6, 0.4), (0.4, 0.75, 0.12)], CASES.index(key) + shift)
        return np.where(lesion, 2, brain).astype(np.uint8)

    _images(folder, drawn, 3)
    for key, channel in ((CASES[1], 2), (CASES[2], 1), (CASES[2], 2), (CASES[4], 0)):
        (folder / "imagesTr" / f"{key}_{channel:04d}.nii.gz").unlink()
    names = {str(number): name for number, name in enumerate(CHANNELS)}
    description = {"channel_names": names, "labels": {"background": 0, "brain": 1, "lesion": 2}}
    _finish(folder, description | {"file_ending": ".nii.gz"}, VOLUME, drawn)
    return lambda key: drawn(key, 1.5)


KINDS = {"fundus": fundus, "masks": masks, "atlas": atlas, "gaps": gaps}
"""Each writes a dataset and returns what is predicted of a case, in the values of its label map."""


def make_kind(kind: str, root: Path) -> DatasetFolder:
    """The dataset planned, with one fold."""
    raw = root / f"Dataset001_{kind.title()}"
    predict = KINDS[kind](raw)
    words = ["plan_and_preprocess", str(raw), "--planner", "tiny", "-c", "2d", "--workspace", str(root / "workspace")]
    assert main([*words, "--threads", "1", "--no-report"]) == 0
    files = Workspace(root / "workspace").dataset_folder(raw.name)
    make_fold(files, "0", "2d", predict, PICTURE if kind == "fundus" else VOLUME)
    return files


def _images(folder: Path, drawn: Callable[[str], np.ndarray], channels: int) -> None:
    random = np.random.default_rng(0)
    for key in CASES:
        labels = drawn(key)
        for channel in range(channels):
            image = 60 * (labels > 0) + 9 * labels * (1 + channel) + random.normal(0, 4, labels.shape)
            path = folder / "imagesTr" / f"{key}_{channel:04d}.nii.gz"
            write_channels(image[None].astype(np.float32), VOLUME, path)


def _finish(folder: Path, description: dict, geometry: Geometry, drawn: Callable[[str], np.ndarray]) -> None:
    (folder / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    labels: Labels = dataset_json.labels_of(description, folder / "dataset.json")
    (folder / "labelsTr").mkdir()
    for key in CASES:
        paths = files_in(folder / "labelsTr", key, description["file_ending"], labels)
        write_label_map(drawn(key), geometry, paths, labels)
