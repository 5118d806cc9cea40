"""A workspace with a dataset whose cases are told apart, planned, with two folds whose scores are known."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from autoseg.cli import main
from autoseg.core.geometry import Geometry
from autoseg.core.records import write_json
from autoseg.data.label_maps import files_in, write_label_map
from autoseg.parts.readers import write_channels, write_labels
from autoseg.pipeline.evaluate import Scorer, score_pairs
from autoseg.run_status import RunStatus
from autoseg.training.log import MetricsTable
from autoseg.workspace import DatasetFolder, Workspace

NAME = "Dataset801_Report"
HOSTILE = "</script><script>window.broken=1</script><img src=x onerror=window.broken=1>"
LABELS = {"background": 0, "organ": 1, f"a {HOSTILE}": 2}
CONFIGURATION = "3d_fullres"
CASES = [*(f"case_{number:02d}" for number in range(9)), "x&amp;'y\u00e9 (1)"]
SHAPE, SPACING = (10, 24, 20), (3.0, 1.0, 1.0)
GEOMETRY = Geometry.plain(SHAPE, SPACING)


def pixels(address: str) -> np.ndarray:
    """Of a PNG in a data address."""
    with PillowImage.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as opened:
        return np.asarray(opened)


def label_map(size: int) -> np.ndarray:
    """An organ that is larger from case to case, with a lesion in its corner."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:8, 6 : 10 + size, 5:12] = 1
    labels[3:5, 7:9, 6:8] = 2
    return labels


def make_raw(folder: Path) -> Path:
    random = np.random.default_rng(0)
    for number, key in enumerate(CASES):
        labels = label_map(number)
        image = 100 * labels + random.normal(size=SHAPE) + 10 * number
        write_channels(image[None].astype(np.float32), GEOMETRY, folder / "imagesTr" / f"{key}_0000.nii.gz")
        write_labels(labels, GEOMETRY, folder / "labelsTr" / f"{key}.nii.gz")
    description = {"channel_names": {"0": f"T1 {HOSTILE}"}, "labels": LABELS, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(description))
    return folder


def predicted(key: str) -> np.ndarray:
    """The organ without as many columns as the case's number says, and the lesion of even cases only."""
    number = CASES.index(key)
    labels = label_map(number)
    labels[:, :, 12 - min(number, 5) : 12][labels[:, :, 12 - min(number, 5) : 12] == 1] = 0
    return np.where((labels == 2) & (number % 2 == 1), 1, labels).astype(np.uint8)


def make_fold(
    files: DatasetFolder,
    fold: str,
    configuration: str = CONFIGURATION,
    predict: Callable[[str], np.ndarray] = predicted,
    geometry: Geometry = GEOMETRY,
) -> None:
    """What a training leaves, with predictions that are known."""
    dataset, plan = files.read_dataset(), files.read_plan()
    run = files.run(configuration, fold)
    write_json(
        run.effective,
        replace(plan, configurations={configuration: plan.configurations[configuration]}, default=configuration),
    )
    write_json(run.status, RunStatus("stopped", "here", 1, 1.7e9, iteration=120, progress=0.5, dice=0.8), sealed=True)
    table = MetricsTable(run.metrics, [])
    for epoch in range(1, 13):
        row = {"epoch": epoch, "iteration": 10 * epoch, "seconds_trained": 5.0 * epoch, "loss": 1 / epoch}
        row |= {
            "learning_rate": 0.01 / epoch,
            "seconds_per_iteration": 0.5,
            "share_waiting_for_data": 0.25,
            "memory": 2e9,
        }
        row |= {"dice": math.nan if epoch == 1 else 0.05 * epoch, "dice_organ": 0.06 * epoch}
        table.add(row)
    pairs = {}
    for key in files.read_folds().named(fold).validation:
        paths = files_in(run.validation, key, dataset.file_ending, dataset.labels)
        write_label_map(predict(key), geometry, paths, dataset.labels)
        pairs[key] = (dataset.case(key).label_files, paths)
    score_pairs(pairs, Scorer(dataset.labels), run.validation, patients=files.read_folds().patients)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> DatasetFolder:
    """Do not change it."""
    root = tmp_path_factory.mktemp("reports")
    raw = make_raw(root / "somewhere_private" / NAME)
    words = ["plan_and_preprocess", str(raw), "--planner", "tiny", "--workspace", str(root / "workspace")]
    assert main([*words, "-c", CONFIGURATION, "--group", "^case_0[0-4]|^.", "--no-report"]) == 0
    files = Workspace(root / "workspace").dataset_folder(NAME)
    make_fold(files, "0")
    make_fold(files, "1")
    return files
