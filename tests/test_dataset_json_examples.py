"""Every example in dataset_json_examples is the dataset.json of a dataset that can be read and measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoseg.core.geometry import Geometry
from autoseg.core.labels import ExclusiveLabels, Labels, RegionLabels
from autoseg.data import dataset_json
from autoseg.data.dataset import Dataset
from autoseg.data.layouts import read_dataset
from autoseg.inspection.check import check_headers
from autoseg.inspection.extract import extract_fingerprint
from autoseg.parts.readers import write_channels, write_labels

EXAMPLES = Path(__file__).parents[1] / "dataset_json_examples"
GEOMETRY = Geometry.plain((6, 7, 8), (2.0, 1.0, 1.0))
generator = np.random.default_rng(0)


def label_map(labels: Labels) -> np.ndarray:
    values = [*labels.values, *(() if labels.ignore is None else (labels.ignore,))]
    return generator.choice(values, GEOMETRY.shape)


def write_case(images: list[Path], label: Path, channels: int, labels: Labels) -> None:
    if label.suffix == ".png":
        from PIL import Image

        label.parent.mkdir(parents=True, exist_ok=True)
        images[0].parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 255, (7, 8, channels)).astype(np.uint8)).save(images[0])
        write_labels(label_map(labels)[:1], Geometry.plain_2d((7, 8)), label)
        return
    array = generator.normal(size=(channels, *GEOMETRY.shape)).astype(np.float32)
    for number, image in enumerate(images):
        write_channels(array if len(images) == 1 else array[number : number + 1], GEOMETRY, image)
    write_labels(label_map(labels), GEOMETRY, label)


def files_of(description: dict[str, Any], channels: int) -> list[tuple[list[str], str]]:
    if "dataset" in description:
        return [(entry["images"], entry["label"]) for entry in description["dataset"].values()]
    if "training" in description:
        return [([entry["image"]], entry["label"]) for entry in description["training"]]
    ending = description["file_ending"]
    files = 1 if ending == ".png" else channels
    return [
        ([f"imagesTr/{key}_{number:04d}{ending}" for number in range(files)], f"labelsTr/{key}{ending}")
        for key in ("first", "second")
    ]


def make(example: Path, folder: Path) -> Dataset:
    """A small dataset to match the example."""
    description = dataset_json.read(example)
    channels = len(dataset_json.channels_of(description, example))
    labels = dataset_json.labels_of(description, example)
    for images, label in files_of(description, channels):
        write_case([folder / image for image in images], folder / label, channels, labels)
    (folder / "dataset.json").write_text(json.dumps(description))
    return read_dataset(folder)


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.json")), ids=lambda path: path.stem)
def test_example_reads_checks_and_measures(example: Path, tmp_path: Path) -> None:
    dataset = make(example, tmp_path)
    assert len(dataset.cases) == dataset_json.read(example)["numTraining"]
    assert check_headers(dataset, 1) == []
    fingerprint, problems = extract_fingerprint(dataset, tmp_path / "measured", 1)
    assert problems == []
    assert len(fingerprint.intensities) == len(dataset.channels)


def test_examples_mean_what_they_say(tmp_path: Path) -> None:
    meaning = {}
    for example in EXAMPLES.glob("*.json"):
        meaning[example.stem] = make(example, tmp_path / example.stem)
    assert len(meaning) >= 8
    regions = meaning["overlapping_regions"].labels
    assert isinstance(regions, RegionLabels)
    assert regions.foreground == {"whole_tumour": (1, 2, 3), "tumour_core": (2, 3), "enhancing_tumour": (3,)}
    assert regions.class_order == (1, 2, 3)
    assert meaning["scribbles_ignore"].labels.ignore == 4
    assert meaning["any_integer_labels"].labels.values == (0, 205, 420, 500)
    assert meaning["any_integer_labels"].file_ending == ".nrrd"
    assert meaning["decathlon"].layout == "msd"
    assert meaning["decathlon"].labels == ExclusiveLabels({"background": 0, "peripheral_zone": 1, "transition_zone": 2})
    assert meaning["decathlon"].channels == ("T2", "ADC")
    assert meaning["explicit_cases"].keys == ("anna", "bert")
    assert meaning["rgb_2d"].channels == ("R", "G", "B")
    assert len(meaning["rgb_2d"].cases[0].image_files) == 1
