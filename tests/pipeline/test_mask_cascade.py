"""The second stage of a cascade sees every mask that the first has predicted, with all overlaps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from autoseg.cli import main
from autoseg.core.geometry import Geometry
from autoseg.core.masks import MaskLabels
from autoseg.data.label_maps import files_in, read_label_map, write_label_map
from autoseg.inference.model import Model
from autoseg.parts.readers import write_channels
from autoseg.preprocessing.arrays import read_array
from autoseg.preprocessing.priors import PriorStore, on_grid
from autoseg.preprocessing.store import CaseStore
from autoseg.settings import RunSettings
from autoseg.workspace import Workspace

pytestmark = pytest.mark.slow

NAME, SHAPE = "Dataset001_Cascade", (32, 112, 112)
GEOMETRY = Geometry.plain(SHAPE, (2.5, 1.0, 1.0))
LABELS = MaskLabels(("left", "right"))
CASCADE = "3d_cascade_fullres"


def make_dataset(folder: Path) -> Path:
    for number in range(3):
        random, masks = np.random.default_rng(number), []
        for middle in (46, 66):
            centre = np.array((16, 56, middle)) + random.uniform(-3, 3, 3)
            masks.append(((((np.indices(SHAPE).T - centre) / (12, 36, 24)) ** 2).sum(-1) < 1).T)
        image = (1 + masks[0] + 2 * masks[1] + random.normal(0, 0.2, SHAPE)).astype(np.float32)
        write_channels(image[None], GEOMETRY, _made(folder / "imagesTr") / f"case_{number}_0000.nii.gz")
        files = files_in(_made(folder / "labelsTr"), f"case_{number}", ".nii.gz", LABELS)
        write_label_map(LABELS.joined(masks, SHAPE), GEOMETRY, files, LABELS)
    described = {"channel_names": {"0": "MR"}, "masks": LABELS.masks, "file_ending": ".nii.gz", "numTraining": 3}
    (folder / "dataset.json").write_text(json.dumps(described))
    return folder


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_a_cascade_of_masks(tmp_path: Path) -> None:
    raw, where = make_dataset(tmp_path / NAME), ["--workspace", str(tmp_path / "workspace")]
    planned = ["--planner", "tiny", "-c", CASCADE, "--mirror", "none", "--set", "network.features=[4,8,8]"]
    assert main(["plan_and_preprocess", str(raw), *planned, *where]) == 0
    short = ["--epochs", "1", "--set", "training.iterations_per_epoch=20", "--device", "cpu", "--threads", "1"]
    assert main(["train", NAME, "0", "-c", CASCADE, *short, *where]) == 0
    files = Workspace(tmp_path / "workspace").dataset_folder(NAME)
    plan, key = files.read_plan(), files.read_folds()[1].validation[0]
    first = files_in(files.run("3d_lowres", "1").validation, key, ".nii.gz", LABELS)
    predicted, _ = read_label_map(first, LABELS)
    record = CaseStore(files.prepared("3d_fullres")).open(key).record
    expected = on_grid(predicted, record, LABELS, plan.configurations[CASCADE].resampler)
    prior = read_array(PriorStore(files.priors(CASCADE)).path(key), (slice(None),) * 3)
    np.testing.assert_array_equal(prior, expected)
    assert set(np.unique(prior)) >= {1, 2} or 3 in prior

    model = Model.read(files.run(CASCADE, "0").root, settings=RunSettings(device="cpu", threads=1))
    part, group = model.task.configuration.inputs[0], model.task.inputs.extras[0]
    seen = part.encode(torch.from_numpy(prior.astype(np.float32))[None, None], group)[0]
    np.testing.assert_array_equal(seen, [prior & 1, prior >> 1 & 1])
    image = raw / "imagesTr" / "case_0_0000.nii.gz"
    alike = ["--device", "cpu", "--threads", "1"]
    assert (
        main(["predict", "-i", str(image), "-o", str(tmp_path / "out"), "-d", NAME, "-c", CASCADE, *alike, *where]) == 0
    )
    written, _ = read_label_map(files_in(tmp_path / "out", "case_0", ".nii.gz", LABELS), LABELS)
    np.testing.assert_array_equal(written, model.predict(image).labels)
