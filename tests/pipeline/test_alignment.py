"""Channels on different grids, or shifted against their headers, from a folder to label maps."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
from two_channels import GRID, SHAPE, laid, moved, phantom, rigid, save

import autoseg
from autoseg.alignment import reference
from autoseg.alignment.similarity import normalised_mutual_information
from autoseg.cli import main
from autoseg.core.geometry import Geometry
from autoseg.data.dataset import Case
from autoseg.data.images import read_aligned
from autoseg.errors import ModelError, UsageError
from autoseg.inference.memory import Gate
from autoseg.parts.readers import read_header, unlike
from autoseg.pipeline.predict_stages import Stages
from autoseg.preprocessing.keys import preparation_keys
from autoseg.preprocessing.store import CaseStore
from autoseg.workspace import DatasetFolder, Workspace

pytestmark = pytest.mark.slow

NAME = "Dataset052_Two"
COARSE = Geometry((26, 26, 30), (5.5, 6.0, 5.0), (-65.0, -75.0, 15.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
FLIP = ((1, 0, 2), (0, 2))
SHIFT = rigid((0.0, 0.1, 0.1), (8.0, -6.0, 7.0))


def run(*words: object, cwd: Path, code: int = 0) -> str:
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        returned = main([*map(str, words), "--workspace", str(cwd / "workspace")])
    assert returned == code, said.getvalue()
    return said.getvalue()


def on_coarse(array: np.ndarray) -> np.ndarray:
    image = sitk.GetImageFromArray(array)
    image.SetOrigin(GRID.origin)
    image.SetSpacing(GRID.spacing[::-1])
    image.SetDirection(GRID.direction)
    grid = COARSE.shape[::-1], sitk.Transform(), sitk.sitkLinear, COARSE.origin, COARSE.spacing[::-1], COARSE.direction
    return sitk.GetArrayFromImage(sitk.Resample(image, *grid))


def make(folder: Path, write: object, cases: int = 6) -> Path:
    """``write`` makes the two channels of a case from both arrays, and returns their arrays and grids."""
    for number in range(cases + 1):
        first, second, labels = phantom(number)
        part = "Tr" if number < cases else "Ts"
        for channel, (array, geometry) in enumerate(write(first, second)):  # type: ignore[operator]
            save(array, geometry, folder / f"images{part}" / f"case_{number}_{channel:04d}.nii.gz")
        save(labels, GRID, folder / f"labels{part}" / f"case_{number}.nii.gz")
    described = {
        "channel_names": {"0": "ADC", "1": "T2"},
        "labels": {"background": 0, "left": 1, "right": 2},
        "numTraining": cases,
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(described))
    return folder


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ADC, channel 0, lies on a coarse grid, T2 and the label maps on a fine, oblique one."""
    folder = tmp_path_factory.mktemp("raw") / NAME
    return make(folder, lambda first, second: ((on_coarse(second), COARSE), (first, GRID)))


@pytest.fixture(scope="module")
def trained(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    run("plan_and_preprocess", raw, "--planner", "tiny", "-c", "3d_fullres", cwd=folder)
    iterations = "training.iterations_per_epoch=8"
    run("train", NAME, "0", "--epochs", "1", "-c", "3d_fullres", "--set", iterations, cwd=folder)
    return folder


def files_of(folder: Path) -> DatasetFolder:
    return Workspace(folder / "workspace").dataset_folder(NAME)


def test_check_says_that_a_channel_is_resampled_and_where_it_would_be_an_error(raw: Path, tmp_path: Path) -> None:
    said = " ".join(run("check", raw, cwd=tmp_path).split())
    assert "channel 0 (ADC) lies on another grid than T2 in 6 of 6 cases and is resampled onto it" in said
    assert "6 cases, 0 errors" in said


def test_the_plan_holds_the_reference_and_cases_have_its_grid(trained: Path) -> None:
    files = files_of(trained)
    assert files.read_plan().alignment == autoseg_alignment(1)
    assert files.read_dataset().alignment == autoseg_alignment(1)
    assert {case.shape for case in files.read_fingerprint().cases.values()} == {SHAPE}
    assert "alignment: channels of a case are resampled by their headers onto the grid of T2" in " ".join(
        files.read_plan().reasons
    )
    store = CaseStore(files.prepared("3d_fullres"))
    assert unlike(store.open("case_0").geometry, GRID) == []
    image, _ = store.open("case_0").read_whole()
    assert abs(np.corrcoef(image[0].ravel().astype(float), image[1].ravel().astype(float))[0, 1]) > 0.2


def autoseg_alignment(number: int, method: str = "header") -> object:
    from autoseg.alignment.record import Alignment

    return Alignment(number, method)


def test_predictions_have_the_grid_of_the_reference_however_arrays_lie(
    trained: Path, raw: Path, tmp_path: Path
) -> None:
    """From files, from files whose arrays are laid otherwise, and from memory: the same label map."""
    run("predict", "-i", raw / "imagesTs", "-o", trained / "plain", "-d", NAME, cwd=trained)
    written = trained / "plain" / "case_6.nii.gz"
    assert unlike(read_header(written).geometry, read_header(raw / "imagesTs" / "case_6_0001.nii.gz").geometry) == []
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(written)))

    first, second, _ = phantom(6)
    save(*laid(on_coarse(second), COARSE, *FLIP), tmp_path / "case_6_0000.nii.gz")
    save(first, GRID, tmp_path / "case_6_0001.nii.gz")
    run("predict", "-i", tmp_path, "-o", trained / "laid", "-d", NAME, cwd=trained)
    found = sitk.GetArrayFromImage(sitk.ReadImage(str(trained / "laid" / "case_6.nii.gz")))
    assert (found != expected).mean() < 1e-4

    model = autoseg.load_model(NAME, trained / "workspace")
    paths = [raw / "imagesTs" / f"case_6_{channel:04d}.nii.gz" for channel in range(2)]
    of_images = model.predict([sitk.ReadImage(str(path)) for path in paths])
    assert of_images.GetSize() == SHAPE[::-1]
    np.testing.assert_allclose(of_images.GetOrigin(), GRID.origin, rtol=1e-5)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(of_images), expected)
    np.testing.assert_array_equal(model.predict(paths).labels, expected)
    far = sitk.ReadImage(str(paths[0]))
    far.SetOrigin((9000.0, 0.0, 0.0))
    with pytest.raises(ModelError, match=r"channel 0: .*no voxel in common"):
        model.predict([far, sitk.ReadImage(str(paths[1]))])


def test_prediction_registers_with_the_same_code(trained: Path, tmp_path: Path) -> None:
    """From files and from memory the label map is that of the channels as preparing aligns them."""
    header = autoseg.load_model(NAME, trained / "workspace")
    model = replace(header, task=replace(header.task, alignment=autoseg_alignment(1, "rigid")))
    first, second, _ = phantom(6)
    paths = [
        save(second, moved(GRID, *SHIFT), tmp_path / "in" / "case_6_0000.nii.gz"),
        save(first, GRID, tmp_path / "in" / "case_6_0001.nii.gz"),
    ]
    image, (found, _) = read_aligned(Case.of_files("case_6", map(str, paths)), model.task.alignment)
    assert found is not None and found.used
    inside = second > 0
    assert np.corrcoef(image.array[0][inside], second[inside])[0, 1] > 0.95
    expected = header.segment(image).labels
    of_images = model.predict([sitk.ReadImage(str(path)) for path in paths])
    np.testing.assert_array_equal(sitk.GetArrayFromImage(of_images), expected)
    report = autoseg.predict(model, tmp_path / "in", tmp_path / "out")
    assert not report.failed
    written = sitk.ReadImage(str(tmp_path / "out" / "case_6.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(written), expected)


def test_the_memory_of_a_case_counts_files_on_their_own_grids(trained: Path, raw: Path, tmp_path: Path) -> None:
    model = autoseg.load_model(NAME, trained / "workspace")
    large = Geometry((200, 400, 400), (0.5, 0.5, 0.5), COARSE.origin, COARSE.direction)
    path = save(np.zeros(large.shape, np.uint8), large, tmp_path / "case_6_0000.nii.gz")
    image = str(raw / "imagesTs" / "case_6_0001.nii.gz")
    needed = []
    for first in (raw / "imagesTs" / "case_6_0000.nii.gz", path):
        case = Case.of_files("case_6", [str(first), image])
        outputs = autoseg.inference.outputs.chosen()
        stages = Stages(model, tmp_path, SimpleNamespace(), outputs, Gate(1 << 40), None, {"case_6": case})  # type: ignore[arg-type]
        needed.append(stages._needed(case))
    assert needed[1] >= 4 * 4 * np.prod(large.shape) > needed[0]


def test_keys_change_with_alignment_and_transform_and_not_without(trained: Path) -> None:
    files = files_of(trained)
    measured, task = files.read_fingerprint(), files.read_plan().task("3d_fullres")
    keys = preparation_keys(measured, task)
    assert preparation_keys(measured, replace(task, alignment=None)) != keys
    assert preparation_keys(measured, replace(task, alignment=autoseg_alignment(0))) != keys
    from autoseg.alignment.record import Registration

    one = Registration(autoseg_alignment(1, "rigid"), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0), (0.0,) * 3, 1.1, 1.2, 0.0)
    other = replace(one, offset=(0.5, 0.0, 0.0))
    seen = set()
    for found in (one, other):
        case = replace(measured.cases["case_0"], registrations=(None, found))
        changed = preparation_keys(replace(measured, cases=measured.cases | {"case_0": case}), task)
        assert changed["case_1"] == keys["case_1"]
        seen.add(changed["case_0"])
    assert len({*seen, keys["case_0"]}) == 3


def test_another_reference_is_refused_where_labels_do_not_lie_on_it(raw: Path, tmp_path: Path) -> None:
    said = " ".join(
        run("plan_and_preprocess", raw, "--reference", "ADC", "--planner", "tiny", cwd=tmp_path, code=2).split()
    )
    assert "6 errors" in said and "label maps are not resampled" in said and "Traceback" not in said
    said = run("plan_and_preprocess", raw, "--reference", "FLAIR", cwd=tmp_path, code=2)
    assert "--reference: there is no channel 'FLAIR'" in said and "ADC (0), T2 (1)" in said
    with pytest.raises(UsageError, match="align must be one of"):
        autoseg.plan_and_preprocess(raw, tmp_path / "workspace", align="elastic")


def test_channels_without_overlap_are_an_error(tmp_path: Path) -> None:
    far = replace(COARSE, origin=(9000.0, 0.0, 0.0))
    folder = make(tmp_path / NAME, lambda first, second: ((on_coarse(second), far), (first, GRID)), 5)
    said = " ".join(run("plan_and_preprocess", folder, cwd=tmp_path, code=2).split())
    assert "5 errors" in said and "have no voxel in common" in said and "case_0_0000.nii.gz" in said


def test_flat_images_and_single_channels_are_not_registered(tmp_path: Path) -> None:
    flat = Geometry.plain_2d((40, 40))
    for number in range(5):
        for channel in range(2):
            array = np.random.default_rng(number).uniform(0, 99, (40, 40 + channel)).astype(np.float32)
            path = tmp_path / NAME / "imagesTr" / f"case_{number}_{channel:04d}.nii.gz"
            save(array, Geometry.plain_2d(array.shape), path)
        save(np.eye(40, dtype=np.uint8), flat, tmp_path / NAME / "labelsTr" / f"case_{number}.nii.gz")
    described = {"channel_names": {"0": "a", "1": "b"}, "labels": {"background": 0, "x": 1}, "file_ending": ".nii.gz"}
    (tmp_path / NAME / "dataset.json").write_text(json.dumps({**described, "numTraining": 5}))
    assert "5 errors" in run("plan_and_preprocess", tmp_path / NAME, cwd=tmp_path, code=2)
    said = run("plan_and_preprocess", tmp_path / NAME, "--align", "rigid", cwd=tmp_path, code=2)
    assert "only volumes are registered" in said


def prepared(folder: Path, key: str = "case_0") -> np.ndarray:
    return CaseStore(files_of(folder).prepared("3d_fullres")).open(key).read_whole()[0].astype(np.float32)


PLAN = ("--planner", "tiny", "-c", "3d_fullres")


def test_a_reference_changes_nothing_where_channels_share_a_grid(tmp_path: Path) -> None:
    folder = make(tmp_path / NAME, lambda first, second: ((second, GRID), (first, GRID)))
    for where, words in (("without", ()), ("with", ("--reference", "T2"))):
        (tmp_path / where).mkdir()
        run("plan_and_preprocess", folder, *PLAN, *words, cwd=tmp_path / where)
    assert files_of(tmp_path / "without").read_plan().alignment is None
    assert "lies about" not in run("check", folder, cwd=tmp_path / "without")
    np.testing.assert_array_equal(prepared(tmp_path / "without"), prepared(tmp_path / "with"))


def test_a_shift_is_told_registered_once_and_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = {
        "shifted": make(tmp_path / "s" / NAME, lambda first, second: ((second, moved(GRID, *SHIFT)), (first, GRID))),
        "together": make(tmp_path / "t" / NAME, lambda first, second: ((second, GRID), (first, GRID))),
    }
    for where, folder in folders.items():
        (tmp_path / where).mkdir()
        said = " ".join(run("plan_and_preprocess", folder, *PLAN, cwd=tmp_path / where).split())
        assert ("beside T2 in 5 of 5 cases" in said and "--align rigid" in said) == (where == "shifted")
    measured = files_of(tmp_path / "shifted").read_fingerprint()
    shifts = [case.shifts[0] for case in measured.cases.values() if case.shifts]
    assert len(shifts) == 5 and all(shift is not None and 5 < shift < 35 for shift in shifts)

    header = prepared(tmp_path / "shifted")
    run("plan_and_preprocess", folders["shifted"], *PLAN, "--align", "rigid", cwd=tmp_path / "shifted")
    files = files_of(tmp_path / "shifted")
    assert files.read_plan().alignment == autoseg_alignment(1, "rigid")
    for case in files.read_dataset().cases:
        found = case.registrations[0]
        assert found is not None and found.used
        offset = np.array(found.matrix).reshape(3, 3) @ GRID.origin + found.offset
        np.testing.assert_allclose(offset, SHIFT[0] @ GRID.origin + SHIFT[1], atol=2.5)
    aligned = prepared(tmp_path / "shifted")
    similar = [normalised_mutual_information(*(each.ravel() for each in image)) for image in (header, aligned)]
    assert similar[1] - 1 > 1.5 * (similar[0] - 1)

    def never(*arguments: object, **named: object) -> None:
        raise AssertionError("registered again")

    monkeypatch.setattr(reference, "register", never)
    for words in (("--align", "rigid"), ()):  # as before
        said = run("plan_and_preprocess", folders["shifted"], *PLAN, *words, cwd=tmp_path / "shifted")
        assert "0 cases prepared, 6 were up to date" in said
        assert ("registered as before (--align rigid); --align header" in " ".join(said.split())) == (not words)
        assert files.read_plan().alignment == autoseg_alignment(1, "rigid")
    assert "errors" in run("check", folders["shifted"], cwd=tmp_path / "shifted")
    run("plan_and_preprocess", folders["shifted"], *PLAN, "--align", "header", cwd=tmp_path / "shifted")
    assert files.read_plan().alignment == autoseg_alignment(1)
    np.testing.assert_array_equal(prepared(tmp_path / "shifted"), header)
