"""A folder of predictions as `autoseg predict` leaves it, of cases whose every figure is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autoseg.core.dice_line import DiceLine
from autoseg.core.geometry import Geometry
from autoseg.core.labels import ExclusiveLabels
from autoseg.core.records import write_json
from autoseg.data.dataset import Case
from autoseg.data.training_ranges import Range, TrainingRanges
from autoseg.evaluation.quality_table import Quality, write_quality
from autoseg.parts.readers import write_channels, write_labels
from autoseg.pipeline.predictions import Predictions

HOSTILE = "</script><script>window.broken=1</script>"
LABELS = ExclusiveLabels({"background": 0, "organ": 1, f"lesion {HOSTILE}": 2})
LESION = f"lesion {HOSTILE}"
CASES = [f"case_{number}" for number in range(7)]
SHAPE, SPACING = (10, 24, 20), (3.0, 1.0, 0.5)
VOXEL_ML = 3.0 * 1.0 * 0.5 / 1000
QUALITY = {
    key: {
        "organ": Quality(0.5 + 0.05 * number, 0.4 + 0.05 * number, 0.45 + 0.05 * number),
        LESION: Quality(None) if number == 6 else Quality(0.99, 0.98, 0.97),
    }
    for number, key in enumerate(CASES)
}
LINES = {"organ": DiceLine(1.0, -0.05, 0.03125, 0.875, 20), LESION: DiceLine(1.0, 0.0, 0.0625, None, 20, True)}
TRAINING = TrainingRanges(
    20,
    {"left-right": Range(0.5, 0.6), "front-back": Range(1.0, 1.0), "feet-head": Range(2.5, 3.0)},
    {"left-right": Range(9.0, 11.0), "front-back": Range(24.0, 24.0), "feet-head": Range(28.0, 36.0)},
    ("LPS",),
    ((Range(-5.0, 0.0), Range(0.0, 1.0), Range(0.0, 210.0)),),
    (),
    ("organ",),
)


def label_map(number: int) -> np.ndarray:
    """An organ of 2 x 3 x (4 + number) voxels and apart from it one voxel; a lesion but for the last case."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:4, 5:8, 1 : 5 + number] = 1
    labels[8, 20, 15] = 1
    if number < 6:
        labels[6, 10:12, 10] = 2
    return labels


def image(number: int) -> np.ndarray:
    """100 in the organ, 200 in the lesion; the fifth case is brighter than all training cases."""
    array = 100.0 * label_map(number) + np.linspace(-1, 1, np.prod(SHAPE)).reshape(SHAPE).round(3)
    return (array + 900 * (number == 5)).astype(np.float32)


def make_predictions(root: Path, uncertainty: bool = True) -> Path:
    """The folder; the fourth case lies the other way round, right to left."""
    folder = root / "out"
    for number, key in enumerate(CASES):
        turned = (-1.0 if number == 3 else 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
        geometry = Geometry(SHAPE, SPACING, (0.0, 0.0, 0.0), turned)
        write_channels(image(number)[None], geometry, root / "somewhere_private" / f"{key}_0000.nii.gz")
        write_labels(label_map(number), geometry, folder / f"{key}.nii.gz")
        if uncertainty and number < 2:
            unsure = np.zeros((2, *SHAPE), np.float32)
            unsure[0, 3, 6] = 1.0
            unsure[0, 7, 11] = 0.3
            write_channels(unsure, geometry, folder / "uncertainty" / f"{key}.nii.gz")
    cases = tuple(Case.of_files(key, (str(root / "somewhere_private" / f"{key}_0000.nii.gz"),)) for key in CASES)
    record = Predictions("Model", 2, (f"T1 {HOSTILE}",), LABELS, ".nii.gz", None, cases, LINES, TRAINING)
    write_json(folder / "predictions.json", record, sealed=True)
    write_quality(folder / "quality.csv", QUALITY)
    return folder


@pytest.fixture(scope="session")
def predictions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Do not change it."""
    return make_predictions(tmp_path_factory.mktemp("predictions"))
