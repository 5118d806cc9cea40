"""Studies with several series become cases with channels; what fits no pattern, or is no volume, is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import write_series, write_slice

from autoseg.cli import main
from autoseg.data.layouts import read_dataset

AXES = np.eye(3)


def study(folder: Path, patient: str, *described: str) -> None:
    """One series for every description, all in one folder, as from an archive."""
    for number, description in enumerate(described):
        voxels = np.full((3, 6, 5), 100 * number + len(patient))
        tags = {"t0020_000d": f"1.{len(patient)}", "t0020_000e": f"1.{len(patient)}.{number + 1}"}
        write_series(folder, voxels, AXES, **tags, t0008_103e=description, t0010_0020=patient)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    study(tmp_path / "s" / "x", "anna", "Ax T1 post", "Ax T2 FLAIR", "localizer")
    study(tmp_path / "s" / "y", "bo", "AX FLAIR", "T1 post Gd")
    return tmp_path / "s"


CHANNELS = ["--channel", "T1ce=*t1*post*", "--channel", "FLAIR=*flair*"]


def test_series_are_matched_to_channels_by_their_descriptions(source: Path, tmp_path: Path) -> None:
    for key in ("anna", "bo"):
        label = sitk.GetImageFromArray(np.eye(6, 5, dtype=np.uint8)[None].repeat(3, 0))
        label.SetSpacing((0.5, 0.75, 2.0))
        label.SetOrigin((10.0, -20.0, 30.0))
        (tmp_path / "masks").mkdir(exist_ok=True)
        sitk.WriteImage(label, str(tmp_path / "masks" / f"{key}.nii.gz"))
    target = tmp_path / "D"
    words = [
        "convert",
        "dicom",
        str(source),
        str(target),
        *CHANNELS,
        "--label",
        "../masks/{case}.nii.gz",
        "--keep-names",
    ]
    assert main(words) == 0
    dataset = read_dataset(target)
    assert dataset.channels == ("T1ce", "FLAIR")
    found = {
        (key, channel): int(
            sitk.GetArrayFromImage(sitk.ReadImage(str(target / "imagesTr" / f"{key}_000{channel}.nii.gz"))).max()
        )
        for key in ("anna", "bo")
        for channel in (0, 1)
    }
    assert found == {("anna", 0): 4, ("anna", 1): 104, ("bo", 0): 102, ("bo", 1): 2}


def test_without_labels_there_is_something_to_predict(source: Path, tmp_path: Path) -> None:
    assert main(["convert", "dicom", str(source), str(tmp_path / "D"), *CHANNELS]) == 0
    assert len(list((tmp_path / "D" / "imagesTs").iterdir())) == 4
    assert not (tmp_path / "D" / "dataset.json").exists()


def test_the_descriptions_are_shown_when_nothing_is_chosen(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", "dicom", str(source), str(tmp_path / "D")]) == 2
    said = capsys.readouterr().err
    assert "choose series with --channel NAME=PATTERN; in 2 studies there are" in said
    assert "1  localizer" in said


def test_one_series_per_study_needs_no_choice(tmp_path: Path) -> None:
    study(tmp_path / "s", "anna", "anything")
    assert main(["convert", "dicom", str(tmp_path / "s"), str(tmp_path / "D"), "--keep-names"]) == 0
    assert [path.name for path in (tmp_path / "D" / "imagesTs").iterdir()] == ["anna_0000.nii.gz"]


def test_studies_that_do_not_fit_are_named(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["convert", "dicom", str(source), str(tmp_path / "D"), "--keep-names"]
    assert main([*words, "--channel", "all=*t*", "--channel", "FLAIR=*t2*flair*"]) == 2
    said = capsys.readouterr().err
    assert "anna (x): 2 series fit '*t*' for all: 'Ax T1 post', 'Ax T2 FLAIR'; choose a narrower pattern" in said
    assert "bo (y): no series fits '*t2*flair*' for FLAIR; there are 'AX FLAIR', 'T1 post Gd'" in said


def test_a_series_with_a_gap_is_named_with_its_case(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_slice(
        source / "x" / "far.dcm", np.zeros((6, 5)), (10, -20, 99), AXES,
        t0020_000d="1.4", t0020_000e="1.4.1", t0008_103e="Ax T1 post", t0010_0020="anna",
    )  # fmt: skip
    assert main(["convert", "dicom", str(source), str(tmp_path / "D"), *CHANNELS]) == 2
    said = capsys.readouterr().err
    assert "far.dcm" in said
    assert "65 mm apart, the others 2 mm" in said


def test_series_on_different_grids_are_channels_of_one_case_if_they_overlap(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    random = np.random.default_rng(0)
    for number in range(4):
        folder, tags = tmp_path / "s" / f"p{number}", {"t0020_000d": f"1.{number}", "t0010_0020": f"p{number}"}
        t2 = random.integers(1, 200, (6, 12, 10))
        write_series(folder, t2, AXES, **tags, t0020_000e=f"1.{number}.1", t0008_103e="T2")
        adc, described = random.integers(1, 200, (4, 8, 9)), {"t0020_000e": f"1.{number}.2", "t0008_103e": "ADC"}
        if number < 3:
            write_series(folder, adc, AXES, step=2.5, **tags, **described)
        else:
            for slice_, pixels in enumerate(adc):
                place = (9000.0, -20.0, 30.0 + slice_)
                write_slice(folder / f"far_{slice_}.dcm", pixels, place, AXES, **tags, **described)
        label = sitk.GetImageFromArray((t2 > 150).astype(np.uint8))
        label.SetSpacing((0.5, 0.75, 2.0))
        label.SetOrigin((10.0, -20.0, 30.0))
        (tmp_path / "masks").mkdir(exist_ok=True)
        sitk.WriteImage(label, str(tmp_path / "masks" / f"p{number}.nii.gz"))
    target = tmp_path / "Dataset001_Prostate"
    words = ["convert", "dicom", str(tmp_path / "s"), str(target), "--channel", "ADC=adc", "--channel", "T2=t2"]
    words += ["--label", "../masks/{case}.nii.gz", "--keep-names"]
    assert main(words) == 2
    assert "p3: channel 1 has no voxel in common with channel 0" in capsys.readouterr().err
    assert main([*words, "--leave-out"]) == 0
    assert read_dataset(target).keys == ("p0", "p1", "p2")
    assert main(["check", str(target), "--workspace", str(tmp_path / "w")]) == 0
    assert "channel 0 (ADC) lies on another grid than T2 in 3 of 3 cases" in " ".join(capsys.readouterr().out.split())


def repeated(folder: Path, times: tuple[str, ...], patient: str = "anna", slices: int = 3) -> None:
    """The same protocol once for every time, numbered from 5 on."""
    for number, time in enumerate(times, 5):
        tags = {
            "t0020_000d": f"1.{len(patient)}",
            "t0020_000e": f"1.{len(patient)}.{number}",
            "t0020_0011": str(number),
        }
        tags |= {"t0008_0021": "20190402", "t0008_0031": time} if time else {}
        voxels = np.full((slices, 6, 5), number)
        write_series(folder, voxels, AXES, **tags, t0008_103e="T1 mprage", t0010_0020=patient)


def taken(target: Path) -> int:
    (path,) = (target / "imagesTs").iterdir()
    return int(sitk.GetArrayFromImage(sitk.ReadImage(str(path))).max())


@pytest.mark.parametrize("channel", [[], ["--channel", "T1=*t1*"]])
def test_series_of_one_description_are_told_apart_and_can_be_chosen(
    tmp_path: Path, channel: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    repeated(tmp_path / "s", ("103005.5", "094100", "101500"))
    words = ["convert", "dicom", str(tmp_path / "s"), str(tmp_path / "D"), *channel]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "'T1 mprage' (number 5, 2019-04-02 10:30, 3 slices of 5 x 6)" in said
    assert "--series NUMBER" in said and "--newest" in said
    for flags, number in ((["--newest"], 5), (["--series", "6"], 6), (["--series", "1.4.7"], 7)):
        words[3] = str(tmp_path / f"D{number}")
        assert main([*words, *flags]) == 0
        assert taken(tmp_path / f"D{number}") == number
    words[3] = str(tmp_path / "gone")
    assert main([*words, "--series", "9"]) == 2
    assert "has the number or UID 9; numbers there are 5, 6, 7" in capsys.readouterr().err


def test_where_no_time_is_known_the_number_says_which_series_is_the_newest(tmp_path: Path) -> None:
    repeated(tmp_path / "s", ("", ""))
    assert main(["convert", "dicom", str(tmp_path / "s"), str(tmp_path / "D"), "--newest"]) == 0
    assert taken(tmp_path / "D") == 6


def test_the_newest_of_series_with_different_descriptions_is_no_channel(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", "dicom", str(source), str(tmp_path / "D"), "--newest"]) == 2
    assert "choose series with --channel" in capsys.readouterr().err
