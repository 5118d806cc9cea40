"""Other people's folders become datasets that autoseg reads; what cannot is named before anything is written."""

from __future__ import annotations

import gzip
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from autoseg.cli import main
from autoseg.data.layouts import read_dataset

RANDOM = np.random.default_rng(0)


def write(
    path: Path,
    array: np.ndarray,
    spacing: tuple[float, float, float] = (1.0, 2.0, 3.0),
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Path:
    """``array`` is (z, y, x), or (channels, z, y, x) for a 4-D file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array, isVector=False)
    image.SetSpacing((*spacing, 1.0)[: array.ndim])
    image.SetOrigin((*origin, 0.0)[: array.ndim])
    sitk.WriteImage(image, str(path))
    return path


def voxels(*shape: int) -> np.ndarray:
    return RANDOM.integers(-500, 500, shape or (4, 5, 6)).astype(np.int16)


def labels(*values: int) -> np.ndarray:
    return RANDOM.choice(np.array(values, np.uint8), (4, 5, 6))


def read(path: Path) -> np.ndarray:
    array: np.ndarray = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    return array


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def described(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "dataset.json").read_text())
    return found


def same_voxels_and_grid(found: Path, expected: Path) -> None:
    """As nibabel sees them: every byte of the voxels, and every number that says where they are."""
    nibabel = pytest.importorskip("nibabel", reason="nibabel is not installed")
    ours, theirs = nibabel.load(found), nibabel.load(expected)
    assert bytes(ours.dataobj.get_unscaled()) == bytes(theirs.dataobj.get_unscaled())
    for name in ("dim", "datatype", "pixdim", "scl_slope", "scl_inter", "xyzt_units", "qform_code", "sform_code"):
        np.testing.assert_array_equal(ours.header[name], theirs.header[name])
    np.testing.assert_array_equal(ours.affine, theirs.affine)


def decathlon(folder: Path) -> Path:
    for name in ("a", "b"):
        write(folder / "imagesTr" / f"{name}.nii.gz", voxels(2, 4, 5, 6))
        write(folder / "labelsTr" / f"{name}.nii.gz", labels(0, 1, 2))
    write(folder / "imagesTs" / "t.nii.gz", voxels(2, 4, 5, 6))
    pairs = [{"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"} for name in ("a", "b")]
    content = {
        "name": "Task", "licence": "CC-BY-SA 4.0", "modality": {"0": "FLAIR", "1": "T1w"}, "tensorImageSize": "4D",
        "labels": {"0": "background", "1": "edema", "2": "tumour"}, "training": pairs, "test": ["./imagesTs/t.nii.gz"],
    }  # fmt: skip
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


def test_a_decathlon_task_becomes_a_file_per_channel(tmp_path: Path) -> None:
    source, target = decathlon(tmp_path / "Task01"), tmp_path / "Dataset001_Task"
    assert main(["convert", "msd", str(source), str(target)]) == 0
    assert files(target / "imagesTr") == [f"{key}_000{channel}.nii.gz" for key in ("a", "b") for channel in (0, 1)]
    assert files(target / "imagesTs") == ["t_0000.nii.gz", "t_0001.nii.gz"]
    whole = sitk.ReadImage(str(source / "imagesTr" / "a.nii.gz"))
    for channel in (0, 1):
        single = sitk.ReadImage(str(target / "imagesTr" / f"a_000{channel}.nii.gz"))
        assert single.GetPixelID() == sitk.sitkInt16
        assert single.GetSpacing() == whole.GetSpacing()[:3]
        np.testing.assert_array_equal(sitk.GetArrayFromImage(single), sitk.GetArrayFromImage(whole)[channel])
    same_voxels_and_grid(target / "labelsTr" / "a.nii.gz", source / "labelsTr" / "a.nii.gz")
    dataset = read_dataset(target)
    assert (dataset.channels, dataset.labels.values) == (("FLAIR", "T1w"), (0, 1, 2))
    assert described(target)["licence"] == "CC-BY-SA 4.0"


def bids(folder: Path) -> Path:
    for name in ("sub-01", "sub-02/ses-a", "sub-02/ses-b", "sub-03"):
        stem = name.replace("/", "_")
        for suffix in ("T1w", "FLAIR"):
            write(folder / name / "anat" / f"{stem}_{suffix}.nii.gz", voxels())
        if name != "sub-03":
            write(folder / "derivatives" / "manual" / name / "anat" / f"{stem}_desc-x_dseg.nii.gz", labels(0, 3, 7))
    write(folder / "sub-01" / "anat" / "sub-01_T2w.nii.gz", voxels())
    write(folder / "derivatives" / "fmriprep" / "sub-01" / "anat" / "sub-01_desc-preproc_T1w.nii.gz", voxels())
    table = "index\tname\tcolor\n0\tBackground\tx\n3\tlesion\tx\n7\tventricle\tx\n"
    (folder / "derivatives" / "manual" / "x_dseg.tsv").write_text(table)
    return folder


def test_bids_sessions_become_cases(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source, target = bids(tmp_path / "bids"), tmp_path / "Dataset002_Bids"
    assert main(["convert", "bids", str(source), str(target)]) == 0
    keys = ("sub-01", "sub-02_ses-a", "sub-02_ses-b")
    assert files(target / "labelsTr") == [f"{key}.nii.gz" for key in keys]
    assert files(target / "imagesTs") == ["sub-03_0000.nii.gz", "sub-03_0001.nii.gz"]
    assert described(target)["channel_names"] == {"0": "T1w", "1": "FLAIR"}
    assert described(target)["labels"] == {"background": 0, "lesion": 3, "ventricle": 7}
    assert "T2w is there for 1 of 3 cases and is left out" in caplog.text
    same = source / "sub-02" / "ses-a" / "anat" / "sub-02_ses-a_FLAIR.nii.gz"
    same_voxels_and_grid(target / "imagesTr" / "sub-02_ses-a_0001.nii.gz", same)
    assert len(read_dataset(target).cases) == 3


def test_a_bids_mask_names_its_label(tmp_path: Path) -> None:
    write(tmp_path / "b" / "sub-1" / "anat" / "sub-1_T1w.nii", voxels())
    write(tmp_path / "b" / "derivatives" / "d" / "sub-1" / "anat" / "sub-1_label-lesion_mask.nii", labels(0, 1))
    assert main(["convert", "bids", str(tmp_path / "b"), str(tmp_path / "D")]) == 0
    assert described(tmp_path / "D")["labels"] == {"background": 0, "lesion": 1}
    same_voxels_and_grid(
        tmp_path / "D" / "imagesTr" / "sub-1_0000.nii.gz", tmp_path / "b" / "sub-1" / "anat" / "sub-1_T1w.nii"
    )


def test_headers_are_kept_byte_for_byte_where_that_is_asked_for(tmp_path: Path) -> None:
    source, target = bids(tmp_path / "bids"), tmp_path / "D"
    plain = write(source / "sub-04" / "anat" / "sub-04_T1w.nii", voxels())
    packed = write(source / "sub-04" / "anat" / "sub-04_FLAIR.nii.gz", voxels())
    assert main(["convert", "bids", str(source), str(target), "--keep-headers"]) == 0
    assert gzip.decompress((target / "imagesTs" / "sub-04_0000.nii.gz").read_bytes()) == plain.read_bytes()
    assert (target / "imagesTs" / "sub-04_0001.nii.gz").read_bytes() == packed.read_bytes()


def test_what_is_missing_or_open_is_named_and_may_be_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    source = bids(tmp_path / "bids")
    write(source / "sub-01" / "anat" / "sub-01_run-2_T1w.nii.gz", voxels())
    write(source / "sub-02" / "ses-b" / "anat" / "sub-02_ses-b_FLAIR.nii.gz", voxels(4, 5, 7), origin=(500.0, 0.0, 0.0))
    words = ["convert", "bids", str(source), str(tmp_path / "D")]
    insist = ["--channel", "T1w=*_T1w.nii.gz", "--channel", "T2w=*_T2w.nii.gz"]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "2 cases cannot be converted; --leave-out goes on without them" in said
    assert "sub-01: 2 files for T1w: sub-01/anat/sub-01_T1w.nii.gz, sub-01/anat/sub-01_run-2_T1w.nii.gz" in said
    assert "sub-02_ses-b: channel 1 has no voxel in common with channel 0 (shape (4, 5, 7)" in said
    assert not (tmp_path / "D").exists()
    assert main([*words, *insist]) == 2
    assert "no case can be converted:\nsub-01: 2 files" in capsys.readouterr().err
    assert main([*words, "--leave-out"]) == 0
    assert files(tmp_path / "D" / "labelsTr") == ["sub-02_ses-a.nii.gz"]
    assert "2 cases are left out" in caplog.text


def test_channels_on_grids_of_their_own_are_written_as_they_are(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = bids(tmp_path / "bids"), tmp_path / "Dataset003_Grids"
    path = source / "sub-02" / "ses-b" / "anat" / "sub-02_ses-b_FLAIR.nii.gz"
    write(path, voxels(8, 5, 7))
    with caplog.at_level(logging.INFO, "autoseg"):
        assert main(["convert", "bids", str(source), str(target)]) == 0
    assert "channels lie on different grids in 1 cases and are written as they are" in caplog.text
    same_voxels_and_grid(target / "imagesTr" / "sub-02_ses-b_0001.nii.gz", path)
    assert main(["check", str(target), "--workspace", str(tmp_path / "w")]) in (0, 1)
    assert "on another grid than T1w in 1 of 3 cases" in " ".join(capsys.readouterr().out.split())
    label = source / "derivatives" / "manual" / "sub-01" / "anat" / "sub-01_desc-x_dseg.nii.gz"
    write(label, labels(0, 3, 7)[:2])
    assert main(["convert", "bids", str(source), str(tmp_path / "D")]) == 2
    assert "sub-01: the label lies on the grid of no channel" in " ".join(capsys.readouterr().err.split())


def test_a_converter_may_be_a_file_of_patterns_and_keep_some_labels(tmp_path: Path) -> None:
    for key in ("p1", "p2"):
        write(tmp_path / "s" / key / "t1.nrrd", voxels())
        write(tmp_path / "s" / key / "seg_aparc.nii.gz", labels(0, 17, 53, 9, 4))
    recipe = {
        "description": "FreeSurfer's", "case": "(p[0-9]+)", "channels": {"T1": "*/t1.nrrd"},
        "label": ["*/seg_*.nii.gz"], "labels": {"hippocampus": [17, 53], "thalamus": [9]},
    }  # fmt: skip
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    words = ["convert", str(tmp_path / "recipe.json"), str(tmp_path / "s"), str(tmp_path / "D")]
    assert main(words) == 0
    before = read(tmp_path / "s" / "p1" / "seg_aparc.nii.gz")
    after = read(tmp_path / "D" / "labelsTr" / "p1.nii.gz")
    np.testing.assert_array_equal(after, np.where(np.isin(before, (17, 53)), 1, np.where(before == 9, 2, 0)))
    assert described(tmp_path / "D")["labels"] == {"background": 0, "hippocampus": 1, "thalamus": 2}
    np.testing.assert_array_equal(
        read(tmp_path / "D" / "imagesTr" / "p2_0000.nii.gz"), read(tmp_path / "s" / "p2" / "t1.nrrd")
    )


def test_labels_may_be_chosen_on_the_command_line_for_any_kind(tmp_path: Path) -> None:
    source = decathlon(tmp_path / "Task01")
    assert main(["convert", "msd", str(source), str(tmp_path / "D"), "--keep", "tumour=2"]) == 0
    before, after = (read(folder / "labelsTr" / "a.nii.gz") for folder in (source, tmp_path / "D"))
    np.testing.assert_array_equal(after, before == 2)
    assert described(tmp_path / "D")["labels"] == {"background": 0, "tumour": 1}


def test_an_interrupted_conversion_goes_on(tmp_path: Path) -> None:
    source, target = decathlon(tmp_path / "Task01"), tmp_path / "D"
    assert main(["convert", "msd", str(source), str(target)]) == 0
    (target / "dataset.json").unlink()  # it comes last
    (target / "imagesTr" / "b_0001.nii.gz").unlink()
    kept = target / "imagesTr" / "a_0000.nii.gz"
    before = kept.stat().st_mtime_ns
    assert main(["convert", "msd", str(source), str(target)]) == 0
    assert kept.stat().st_mtime_ns == before
    assert (target / "imagesTr" / "b_0001.nii.gz").is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nifti2000", "."], "no 'nifti2000'"),
        (["msd", "."], "no Decathlon task"),
        (["bids", "."], "no image fits"),
        (["dicom", "."], "no DICOM file"),
        (["bids", "nowhere"], "no such folder"),
    ],
)
def test_another_source_is_refused(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", words[0], str(tmp_path / words[1]), str(tmp_path / "D")]) == 2
    assert said in capsys.readouterr().err


def test_a_dataset_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = decathlon(tmp_path / "Task01")
    assert main(["convert", "msd", str(source), str(source)]) == 2
    assert "is a dataset already" in capsys.readouterr().err
