"""Every kind of task goes the whole way: 2-D colour with 0/255 masks, regions, ignored voxels, odd values, slices."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from autoseg.cli import main

pytestmark = pytest.mark.slow

CASES = 5
NAME = "Dataset001_Kind"


def scene(shape: tuple[int, ...], number: int) -> np.ndarray:
    """Indices 0, 1, 2: two nested balls, a different place in every case."""
    reach = np.array(shape) / 2
    aside = np.random.default_rng(number).uniform(-2, 2, len(shape))
    centre = reach - 0.5 + np.where(np.array(shape) > 1, aside, 0)
    distance = np.sqrt(sum(((g - c) / r) ** 2 for g, c, r in zip(np.indices(shape), centre, reach)))
    return (distance < 0.8).astype(np.uint8) + (distance < 0.4)


def volume(folder: Path, number: int, shape: tuple[int, ...], values: tuple[int, ...], channels: int = 1) -> None:
    indices = scene(shape, number)
    noise = np.random.default_rng(number).normal(0, 0.1, (channels, *shape))
    for channel in range(channels):
        image = sitk.GetImageFromArray((indices + noise[channel] + 1).astype(np.float32))
        image.SetSpacing((0.8, 0.8, 2.5)[: len(shape)])
        sitk.WriteImage(image, str(folder / "imagesTr" / f"case_{number}_{channel:04d}.nii.gz"))
    labels = sitk.GetImageFromArray(np.array(values, np.int16)[indices])
    labels.SetSpacing((0.8, 0.8, 2.5)[: len(shape)])
    sitk.WriteImage(labels, str(folder / "labelsTr" / f"case_{number}.nii.gz"))


def described(folder: Path, **description: object) -> None:
    (folder / "dataset.json").write_text(json.dumps({"numTraining": CASES, "file_ending": ".nii.gz"} | description))


def colour_with_masks(folder: Path) -> None:
    for number in range(CASES):
        indices = scene((40, 56), number)
        colours = np.array([[0, 40, 20], [120, 90, 60], [240, 60, 200]], np.uint8)[indices]
        Image.fromarray(colours).save(folder / "imagesTr" / f"case_{number}_0000.png")
        Image.fromarray(((indices > 0) * 255).astype(np.uint8)).save(folder / "labelsTr" / f"case_{number}.png")
    names = {"0": "R", "1": "G", "2": "B"}
    described(folder, channel_names=names, labels={"background": 0, "cell": 255}, file_ending=".png")


def regions(folder: Path) -> None:
    for number in range(CASES):
        volume(folder, number, (12, 24, 28), (0, 1, 2), channels=2)
    labels = {"background": 0, "whole": [1, 2], "core": [2]}
    described(folder, channel_names={"0": "T1", "1": "T2"}, labels=labels, regions_class_order=[1, 2])


def ignored(folder: Path) -> None:
    for number in range(CASES):
        volume(folder, number, (12, 24, 28), (0, 1, 2))
    described(folder, channel_names={"0": "CT"}, labels={"background": 0, "organ": 1, "ignore": 2})


def odd_values(folder: Path) -> None:
    for number in range(CASES):
        volume(folder, number, (12, 24, 28), (0, 205, 420))
    described(folder, channel_names={"0": "CT"}, labels={"background": 0, "left": 205, "right": 420})


def single_slices(folder: Path) -> None:
    for number in range(CASES):
        volume(folder, number, (1, 32, 40), (0, 1, 2))
    described(folder, channel_names={"0": "MR"}, labels={"background": 0, "a": 1, "b": 2})


def smaller_than_a_patch(folder: Path) -> None:
    for number in range(CASES):
        volume(folder, number, (9 + number, 17 + 2 * number, 19), (0, 1, 2))
    described(folder, channel_names={"0": "MR"}, labels={"background": 0, "a": 1, "b": 2})


KINDS: dict[str, tuple[Callable[[Path], None], set[int]]] = {
    "colour with masks": (colour_with_masks, {0, 255}),
    "regions": (regions, {0, 1, 2}),
    "ignored": (ignored, {0, 1}),
    "odd values": (odd_values, {0, 205, 420}),
    "single slices": (single_slices, {0, 1, 2}),
    "smaller than a patch": (smaller_than_a_patch, {0, 1, 2}),
}


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[int]]:
    """A folder with a dataset, planned and prepared, and the values of its labels."""
    make, values = KINDS[request.param]
    folder = tmp_path_factory.mktemp("kind")
    raw = folder / NAME
    (raw / "imagesTr").mkdir(parents=True)
    (raw / "labelsTr").mkdir()
    make(raw)
    assert main(["plan_and_preprocess", str(raw), "--planner", "tiny", "--workspace", str(folder / "workspace")]) == 0
    path = folder / "workspace" / NAME / "plan.json"
    plan = json.loads(path.read_text())
    for planned in plan["configurations"].values():
        planned["training"] |= {"epochs": 1, "iterations_per_epoch": 30}
    path.write_text(json.dumps(plan))
    return folder, values


@pytest.mark.parametrize("configuration", [None, "2d"])
def test_the_whole_way(kind: tuple[Path, set[int]], configuration: str | None, tmp_path: Path) -> None:
    folder, values = kind
    raw = folder / NAME
    workspace = ["--workspace", str(folder / "workspace"), "--device", "cpu"]
    chosen = ["-c", configuration] if configuration else []
    default = json.loads((folder / "workspace" / NAME / "plan.json").read_text())["default"]
    if configuration is None and default == "2d":
        pytest.skip("the default configuration is 2d: that is the other test")
    assert main(["train", "1", "0", *chosen, *workspace]) == 0
    assert main(["predict", "-i", str(raw / "imagesTr"), "-o", str(tmp_path / "out"), *workspace]) == 0
    written = sorted((tmp_path / "out").glob("case_*"))
    found = set()
    for file in written:
        predicted = sitk.GetArrayFromImage(sitk.ReadImage(str(file)))
        reference = sitk.GetArrayFromImage(sitk.ReadImage(str(raw / "labelsTr" / file.name)))
        assert predicted.shape == reference.shape
        found |= set(np.unique(predicted).tolist())
    assert len(written) == CASES
    assert found <= values
    assert found > {0}  # even 30 iterations find something
    assert main(["evaluate", str(raw / "labelsTr"), str(tmp_path / "out"), *workspace]) == 0
