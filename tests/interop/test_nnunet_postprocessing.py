"""An imported postprocessing does to label maps what nnU-Net v2 2.8.1 did: stored by benchmarks/oracle_models.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoseg.bundle.source import FolderSource
from autoseg.core.geometry import Geometry
from autoseg.core.labels import ExclusiveLabels, Labels, RegionLabels
from autoseg.corrections import Correction, corrected
from autoseg.interop.nnunet_files import ModelFiles
from autoseg.interop.nnunet_postprocessing import LARGEST, read_postprocessing
from autoseg.parts.postprocessors import largest_component

STORED = np.load(Path(__file__).with_name("postprocessing.npz"))
REGIONS = RegionLabels({"whole": (1, 2, 3), "core": (2, 3), "active": (3,)}, (1, 2, 3))
WHOLE, CORE, ACTIVE = [1, 2, 3], [2, 3], [3]
STEPS: dict[str, list[Any]] = {
    "whole": [WHOLE],
    "core": [CORE],
    "active": [ACTIVE],
    "foreground": [[WHOLE, CORE, ACTIVE]],
    "all": [[WHOLE, CORE, ACTIVE], WHOLE, CORE, ACTIVE],
}


def read(steps: list[Any], labels: Labels, folder: Path) -> tuple[Correction, ...]:
    """As nnU-Net writes it for fold 0."""
    arguments = [{"labels_or_regions": step} for step in steps]
    described = {"postprocessing_fns": [LARGEST] * len(steps), "postprocessing_kwargs": arguments}
    (folder / "crossval_results_folds_0").mkdir()
    (folder / "crossval_results_folds_0" / "postprocessing.json").write_text(json.dumps(described))
    source = FolderSource(folder)
    return read_postprocessing(ModelFiles(source, "", source.sizes()), ["0"], labels)


@pytest.mark.parametrize("name", STEPS)
def test_regions_are_corrected_as_nnunet_corrects_them(name: str, tmp_path: Path) -> None:
    steps = read(STEPS[name], REGIONS, tmp_path)
    befores = [key for key in STORED.files if key.endswith("/before")]
    expected = [STORED[key.replace("before", name)] for key in befores]
    assert any((STORED[key] != after).any() for key, after in zip(befores, expected))
    for key, after in zip(befores, expected):
        before = STORED[key]
        flat = before.shape[0] == 1
        geometry = Geometry.plain_2d(before.shape[1:]) if flat else Geometry.plain(before.shape, (1.0,) * 3)
        np.testing.assert_array_equal(corrected(before, steps, REGIONS, geometry), after)


def test_labels_that_exclude_each_other_are_corrected_as_our_own(tmp_path: Path) -> None:
    labels = ExclusiveLabels({"background": 0, "organ": 1, "lesion": 2})
    assert read([[1, 2], 2], labels, tmp_path) == (
        Correction(None, largest_component.Spec()),
        Correction("lesion", largest_component.Spec()),
    )
