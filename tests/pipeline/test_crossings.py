"""Channels on different grids, gaps, masks and filters in one dataset: each by itself is tested elsewhere."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from two_channels import GRID, moved, phantom, rigid, save

import autoseg
from autoseg.cli import main
from autoseg.core.geometry import Geometry
from autoseg.core.masks import MaskLabels
from autoseg.core.records import read_json
from autoseg.data.dataset import Dataset
from autoseg.data.fingerprint import CaseFingerprint, ChannelFingerprint
from autoseg.evaluation.scores import Summary
from autoseg.inspection.shifts import shifted
from autoseg.parts.readers import read_header, unlike
from autoseg.settings import RunSettings
from autoseg.workspace import DatasetFolder, Workspace

pytestmark = pytest.mark.slow

NAME = "Dataset001_Crossed"
COARSE = Geometry((26, 26, 30), (5.5, 6.0, 5.0), (-65.0, -75.0, 15.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
SHIFT = rigid((0.0, 0.1, 0.1), (8.0, -6.0, 7.0))
HERE = ("--device", "cpu", "--threads", "1", "--precision", "float32")
SMALL = ("--planner", "tiny", "--set", "network.features=[4,8,8]", "--mirror", "none", "-c", "3d_fullres")
SHORT = ("--epochs", "1", "--set", "training.iterations_per_epoch=3", "-c", "3d_fullres")
MASKS = ("left", "both")


def on_coarse(array: np.ndarray) -> np.ndarray:
    image = sitk.GetImageFromArray(array)
    image.SetOrigin(GRID.origin)
    image.SetSpacing(GRID.spacing[::-1])
    image.SetDirection(GRID.direction)
    grid = COARSE.shape[::-1], sitk.Transform(), sitk.sitkLinear, COARSE.origin, COARSE.spacing[::-1], COARSE.direction
    found: np.ndarray = sitk.GetArrayFromImage(sitk.Resample(image, *grid))
    return found


def make_dataset(folder: Path, cases: int = 5) -> Path:
    """ADC, channel 0, on a coarse grid, and shifted in it; T2 and the masks, which overlap, on a fine, oblique one. The
    last case lacks ADC."""
    for number in range(cases):
        t2, adc, labels = phantom(number)
        if number < cases - 1:
            save(on_coarse(adc), moved(COARSE, *SHIFT), folder / "imagesTr" / f"case_{number}_0000.nii.gz")
        save(t2, GRID, folder / "imagesTr" / f"case_{number}_0001.nii.gz")
        for name, mask in zip(MASKS, (labels == 1, labels > 0)):
            save(mask.astype(np.uint8), GRID, folder / "labelsTr" / f"case_{number}_{name}.nii.gz")
    described = {"channel_names": {"0": "ADC", "1": "T2"}, "masks": MASKS, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(described | {"numTraining": cases}))
    return folder


def call(folder: Path, *words: str | Path) -> int:
    return main([*map(str, words), "--workspace", str(folder / "workspace")])


@pytest.fixture(scope="module", params=["header", "rigid"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset whose reference channel, T2, may be missing in prediction, and fold 0 trained on it."""
    folder = tmp_path_factory.mktemp(request.param)
    raw = make_dataset(folder / NAME)
    wishes = ("--missing-channels", "--filter", "ADC=median", "--align", request.param)
    assert call(folder, "plan_and_preprocess", raw, *SMALL, *wishes, *HERE) == 0
    assert call(folder, "train", NAME, "0", *SHORT, *HERE) == 0
    return folder


def files_of(folder: Path) -> DatasetFolder:
    return Workspace(folder / "workspace").dataset_folder(NAME)


def test_withholding_the_reference_channel_leaves_its_grid(trained: Path) -> None:
    """Scores compare predictions with masks that lie on that grid."""
    run = files_of(trained).run("3d_fullres", "0")
    scores = read_json(run.scores, Summary)
    validation = set(files_of(trained).read_folds().folds[0].validation)
    complete = validation - {"case_4"}
    assert complete and scores.subsets.keys() == {"ADC + T2", "ADC", "T2"}
    assert {name: set(found.cases) for name, found in scores.subsets.items()} == {
        "ADC + T2": complete, "ADC": complete, "T2": validation,
    }  # fmt: skip
    for key in complete:
        for mask in MASKS:
            for absent in ((0,), (1,)):
                written = run.without(absent) / f"{key}_{mask}.nii.gz"
                assert unlike(read_header(written).geometry, GRID) == []


def test_a_channel_alone_is_predicted_on_its_own_grid(trained: Path, tmp_path: Path) -> None:
    """From files, from a bundle, and from memory: the same masks."""
    bundle, images = tmp_path / "crossed.zip", trained / NAME / "imagesTr"
    assert call(trained, "export", files_of(trained).runs("3d_fullres"), "-o", bundle) == 0
    how = {"header": "by headers", "rigid": "by rigid registration"}[files_of(trained).read_plan().alignment.method]
    assert f"alignment       {how}, onto the grid of T2\n" in autoseg.info(bundle)
    settings = RunSettings(device="cpu", threads=1, precision="float32")
    for channel, grid in ((0, moved(COARSE, *SHIFT)), (1, GRID)):
        image, out = images / f"case_0_000{channel}.nii.gz", tmp_path / f"out_{channel}"
        assert call(trained, "predict", "-i", image, "-o", out, "-m", bundle, *HERE) == 0
        written = [out / f"case_0_{mask}.nii.gz" for mask in MASKS]
        assert all(unlike(read_header(path).geometry, grid) == [] for path in written)
        found = np.stack([sitk.GetArrayFromImage(sitk.ReadImage(str(path))) for path in written])
        parts: list[object] = [None, None]
        parts[channel] = sitk.ReadImage(str(image))
        model = autoseg.load_model(bundle, settings=settings)
        of_image = np.moveaxis(sitk.GetArrayFromImage(model.predict(parts)), -1, 0)
        np.testing.assert_array_equal(of_image, found)
        parts[channel] = image
        masks = model.predict(parts).masks
        np.testing.assert_array_equal(np.stack([masks[name] for name in MASKS]), found)


def test_channels_that_are_called_by_numbers_are_not_taken_for_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = make_dataset(tmp_path / NAME)
    described = json.loads((raw / "dataset.json").read_text())
    (raw / "dataset.json").write_text(json.dumps(described | {"channel_names": {"0": "1", "1": "0"}}))
    assert call(tmp_path, "fingerprint", raw) == 0
    alignment = files_of(tmp_path).read_dataset().alignment
    assert alignment is not None and alignment.reference == 1
    assert call(tmp_path, "check", raw) == 0
    assert "lies on another grid than 0 in 4 of 5 cases" in " ".join(capsys.readouterr().out.split())


def test_a_label_map_on_the_grid_of_a_reference_that_its_case_lacks_is_told_as_that(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = make_dataset(tmp_path / NAME)
    (raw / "imagesTr" / "case_1_0001.nii.gz").unlink()
    assert call(tmp_path, "check", raw) == 2
    said = " ".join(capsys.readouterr().out.split())
    assert "This case lacks the reference channel" in said and "2 errors" in said


def test_a_shift_is_not_told_as_one_from_a_reference_that_the_cases_lack() -> None:
    """There it was measured from the first channel that they have."""
    there, shape = ChannelFingerprint(0.0, 1.0, 0.0, 0.5, 1.0, 100, ""), (40, 40, 40)
    case = CaseFingerprint(shape, (1.0,) * 3, shape, 1.0, "", channels=(there,) * 3, shifts=(None, None, 5.0))
    lacking = replace(case, channels=(None, there, there))
    names = ("T2", "ADC", "b1400")
    dataset = Dataset(NAME, "/d", names, MaskLabels(MASKS), (), ".nii.gz", "nnunet")
    assert "beside T2 in 1 of 1 cases" in shifted({"a": case, "b": lacking}, dataset)[0].what
    assert shifted({"b": lacking}, dataset) == []
