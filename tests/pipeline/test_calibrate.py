"""Voxels counted by probability where probabilities are kept: every kind of labels, axes turned, borders cropped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from autoseg.core.geometry import Box, Geometry
from autoseg.core.labels import ExclusiveLabels, Labels, RegionLabels
from autoseg.core.masks import MaskLabels
from autoseg.errors import DatasetError
from autoseg.evaluation.calibration import BINS, binned
from autoseg.inference import stored_probabilities as kept
from autoseg.pipeline import calibrate
from autoseg.pipeline.label_probabilities import probabilities_in
from autoseg.preprocessing.spatial import not_resampled, spatial_record

GEOMETRY, BOX = Geometry.plain((9, 11, 10), (3.0, 1.0, 1.0)), Box((1, 0, 2), (9, 9, 11))
LABELS = [
    ExclusiveLabels({"background": 0, "a": 3, "b": 1}, ignore=9),
    RegionLabels({"whole": (1, 2, 3), "core": (2, 3), "inner": (3,)}, (1, 2, 3), ignore=9),
    MaskLabels(("a", "b", "c"), in_channels=True),
]


def stored(folder: Path, labels: Labels) -> kept.StoredProbabilities:
    record = spatial_record(GEOMETRY.shape, GEOMETRY.spacing, (2, 0, 1), BOX, (2.0, 2.0, 2.0))
    torch.manual_seed(0)
    with kept.storing(folder / "case.b2nd", record, GEOMETRY, labels) as take:
        take(slice(0, 8), 2 * torch.randn(*BOX.shape, labels.heads))
    return kept.open_stored(folder / "case.b2nd")


@pytest.mark.parametrize("labels", LABELS, ids=lambda labels: labels.KIND)
def test_bins_are_those_of_all_voxels_that_the_network_saw(
    tmp_path: Path, labels: Labels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "CHUNK_VOXELS", 2 * 81)  # several slabs
    monkeypatch.setattr(calibrate, "COUNTED_AT_ONCE", 50)
    case = stored(tmp_path, labels)
    allowed = [*labels.values, *(() if labels.ignore is None else (labels.ignore,))]
    truth = np.random.default_rng(0).choice(allowed, GEOMETRY.shape)
    found = calibrate.count_bins(case, truth, labels)
    probability = probabilities_in(case.path, labels, GEOMETRY.shape)
    seen = np.zeros(GEOMETRY.shape, bool)
    case.before.apply(seen, not_resampled)[...] = True
    seen &= truth != (-1 if labels.ignore is None else labels.ignore)
    assert case.thickness < case.shape[1] and list(found) == list(labels.foreground)
    for name, values in labels.foreground.items():
        codes = probability(name)[seen].astype(int) // 257
        has = np.isin(truth[seen], values)
        counts = [np.bincount(each, minlength=256) for each in (codes, codes[has])]
        assert found[name] == binned(*counts)
        assert sum(found[name].voxels) == seen.sum() and 0 < sum(found[name].hits) < seen.sum()
        assert len(found[name].voxels) == BINS


def test_labels_of_another_shape_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="case case: its labels have changed"):
        calibrate.count_bins(stored(tmp_path, LABELS[0]), np.zeros((2, 2, 2), np.uint8), LABELS[0])
