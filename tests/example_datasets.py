"""Small datasets of noise to match the examples in dataset_json_examples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.core.geometry import Geometry
from autoseg.core.labels import Labels
from autoseg.data import dataset_json
from autoseg.data.dataset import Dataset
from autoseg.data.label_maps import file_names, write_label_map
from autoseg.data.layouts import read_dataset
from autoseg.parts.readers import write_channels

EXAMPLES = Path(__file__).parents[1] / "dataset_json_examples"
GEOMETRY = Geometry.plain((6, 7, 8), (2.0, 1.0, 1.0))
VOLUMES = {"chosen_volumes": [1, 4], "colour_and_infrared": [3, 1], "rgb_2d": [3], "time_series": [4],
           "unpaired_ct_mr": [1]}  # fmt: skip
"""What the files of a case hold, where that is not a channel each."""
generator = np.random.default_rng(0)


def label_map(labels: Labels, shape: tuple[int, ...]) -> np.ndarray:
    values = [*labels.values, *(() if labels.ignore is None else (labels.ignore,))]
    return generator.choice(values, shape)


def write_image(path: Path, volumes: int, geometry: Geometry) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png":
        from PIL import Image

        size = geometry.shape[1:] if volumes == 1 else (*geometry.shape[1:], volumes)
        Image.fromarray(generator.integers(0, 255, size).astype(np.uint8)).save(path)
    else:
        write_channels(generator.normal(size=(volumes, *geometry.shape)).astype(np.float32), geometry, path)


def files_of(name: str, description: dict[str, Any], labels: Labels) -> list[tuple[list[str], list[str]]]:
    """Images and label files of every case, within the folder."""
    if "dataset" in description:
        return [(entry["images"], [entry["label"]]) for entry in description["dataset"].values()]
    if "training" in description:
        return [([entry["image"]], [entry["label"]]) for entry in description["training"]]
    ending, files = description["file_ending"], len(VOLUMES.get(name, description["channel_names"]))
    return [
        (
            [f"imagesTr/{key}_{number:04d}{ending}" for number in range(files)],
            [f"labelsTr/{each}" for each in file_names(key, ending, labels)],
        )
        for key in ("first", "second")
    ]


def make(example: Path, folder: Path, geometry: Geometry = GEOMETRY) -> Dataset:
    """A small dataset to match the example."""
    description = dataset_json.read(example)
    channels = len(dataset_json.channels_of(description, example))
    labels = dataset_json.labels_of(description, example)
    for images, label_files in files_of(example.stem, description, labels):
        grid = Geometry.plain_2d(geometry.shape[1:]) if images[0].endswith(".png") else geometry
        volumes = VOLUMES.get(example.stem, [channels] if len(images) == 1 else [1] * channels)
        for image, count in zip(images, volumes, strict=True):
            write_image(folder / image, count, grid)
        written = tuple(folder / name for name in label_files)
        written[0].parent.mkdir(parents=True, exist_ok=True)
        write_label_map(label_map(labels, grid.shape), grid, written, labels)
    (folder / "dataset.json").write_text(json.dumps(description))
    return read_dataset(folder)
