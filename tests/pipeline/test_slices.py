"""2.5-D the whole way, on images that a single slice does not explain."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from autoseg.cli import main

NAME, CASES, SHAPE = "Dataset001_Slices", 4, (10, 32, 36)


def make_dataset(folder: Path) -> Path:
    """What is bright is labelled where the next slice is bright too; the last slice has itself for next."""
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(CASES):
        bright = np.zeros(SHAPE, bool)
        for z in range(SHAPE[0]):
            for y, x in random.integers(0, 24, (3, 2)):
                bright[z, y : y + 10, x : x + 12] = True
        labels = bright & np.concatenate((bright[1:], bright[-1:]))
        image = bright + random.normal(0, 0.1, SHAPE) + 1
        for array, path in (
            (image.astype(np.float32), "imagesTr/case_{}_0000"),
            (labels.astype(np.uint8), "labelsTr/case_{}"),
        ):
            written = sitk.GetImageFromArray(array)
            written.SetSpacing((1.0, 1.0, 6.0))
            sitk.WriteImage(written, str(folder / f"{path.format(number)}.nii.gz"))
    described = {"channel_names": {"0": "MR"}, "labels": {"background": 0, "both": 1}, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(described | {"numTraining": CASES}))
    return folder


@pytest.mark.slow
def test_a_network_of_several_slices_learns_what_one_slice_does_not_tell(tmp_path: Path) -> None:
    raw, workspace = make_dataset(tmp_path / NAME), tmp_path / "workspace"
    there = ["--workspace", str(workspace), "--device", "cpu", "--threads", "1"]
    chosen, small = ["-c", "2.5d"], ["--set", "2.5d.network.features=[8,16,16]"]
    assert main(["plan_and_preprocess", str(raw), "--planner", "tiny", "--slices", "3", *small, *chosen, *there]) == 0
    assert [path.name for path in (workspace / NAME / "prepared").iterdir()] == ["2d"]
    short = ["--epochs", "1", "--set", "training.iterations_per_epoch=100", "--set", "augmentation=none"]
    assert main(["train", NAME, "0", *chosen, *short, *there]) == 0
    scores = json.loads((workspace / NAME / "runs" / "2.5d" / "fold_0" / "validation" / "scores.json").read_text())
    dice = [case["both"]["dice"] for case in scores["cases"].values()]
    labels = [sitk.GetArrayFromImage(sitk.ReadImage(str(path))) for path in (raw / "labelsTr").iterdir()]
    images = [sitk.GetArrayFromImage(sitk.ReadImage(str(path))) for path in (raw / "imagesTr").iterdir()]
    share = sum(map(np.sum, labels)) / sum((image > 1.5).sum() for image in images)
    alone = 2 * share / (1 + share)  # the best Dice without neighbours: everything bright
    assert alone < 0.7
    assert min(dice) > 0.8
