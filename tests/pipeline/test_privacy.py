"""What headers say about patients stays in their files: not a byte of it is in anything that is written."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import zipfile
from pathlib import Path

import blosc2
import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import write_series

from autoseg.cli import main

MARK = "ZQXMARKER"
SPELT = tuple(MARK.encode(coding) for coding in ("ascii", "utf-16-le", "utf-16-be"))
SHORT = ["--epochs", "1", "--set", "training.iterations_per_epoch=1", "--device", "cpu", "--threads", "1"]


def contents(path: Path) -> list[bytes]:
    """The bytes of a file, and what they unpack to."""
    raw = path.read_bytes()
    if path.suffix == ".b2nd":
        array = blosc2.open(str(path), mode="r")
        return [raw, np.asarray(array[...]).tobytes(), repr(list(array.schunk.vlmeta)).encode()]
    if raw[:2] == b"\x1f\x8b":
        return [raw, gzip.decompress(raw)]
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            return [raw, *(archive.read(name) for name in archive.namelist())]
    return [raw]


def traces(folder: Path) -> list[str]:
    """Files below ``folder``, and their names, that hold the mark."""
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if MARK in path.name
        or (path.is_file() and any(mark in content for content in contents(path) for mark in SPELT))
    ]


def marked(path: Path, array: np.ndarray) -> Path:
    """A NIfTI file with the mark in every text of its header, an extension, the name of what was packed, and behind the
    voxels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((1.0, 1.0, 3.0))
    plain = path.with_name("plain.nii")
    sitk.WriteImage(image, str(plain))
    content = bytearray(plain.read_bytes())
    plain.unlink()
    for start, length in ((4, 10), (14, 18), (148, 80), (228, 24), (328, 16)):
        content[start : start + length] = MARK.encode().ljust(length, b"\0")
    note = b"\x20\0\0\0\x06\0\0\0" + MARK.encode().ljust(24, b"\0")
    content[348:352] = b"\1\0\0\0" + note
    content[108:112] = np.float32(352 + len(note)).tobytes()
    content += MARK.encode()
    if path.suffix == ".nii":
        path.write_bytes(content)
    else:
        with path.open("wb") as file, gzip.GzipFile(f"{MARK}.nii", "wb", fileobj=file) as packed:
            packed.write(content)
    assert sum(mark in each for each in contents(path) for mark in SPELT)
    return path


def image(seed: int) -> tuple[np.ndarray, np.ndarray]:
    labels = np.zeros((8, 32, 32), np.uint8)
    labels[2:6, 8:20, 10 + seed : 22 + seed] = 1
    noise = np.random.default_rng(seed).normal(0, 20, labels.shape)
    return (labels * 100 + noise).astype(np.int16), labels


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = tmp_path / "study"
    for number in range(5):
        voxels, labels = image(number)
        ending = "nii" if number == 1 else "nii.gz"
        marked(folder / f"sub-{number}" / "anat" / f"sub-{number}_T1w.{ending}", voxels)
        if number < 4:
            marked(folder / "derivatives" / "m" / f"sub-{number}" / "anat" / f"sub-{number}_dseg.{ending}", labels)
    assert len(traces(folder)) == 9
    return folder


def test_a_converted_dataset_holds_nothing_of_its_headers(study: Path, tmp_path: Path) -> None:
    assert main(["convert", "bids", str(study), str(tmp_path / "D")]) == 0
    assert traces(tmp_path / "D") == []
    for found in (tmp_path / "D" / "imagesTr").iterdir():
        number = int(found.name[4])
        np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(found))), image(number)[0])


def test_other_formats_lose_their_notes_as_well(tmp_path: Path) -> None:
    for ending in ("nrrd", "mha"):
        noted = sitk.GetImageFromArray(image(0)[0])
        noted.SetMetaData("Comment", MARK)
        (tmp_path / "s" / ending).mkdir(parents=True)
        sitk.WriteImage(noted, str(tmp_path / "s" / ending / f"x.{ending}"))
    assert len(traces(tmp_path / "s")) == 2
    recipe = {"description": "both", "case": "(nrrd|mha)/", "channels": {"MR": "*/x.*"}}
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    assert main(["convert", str(tmp_path / "recipe.json"), str(tmp_path / "s"), str(tmp_path / "D")]) == 0
    assert len(list((tmp_path / "D" / "imagesTs").iterdir())) == 2
    assert traces(tmp_path / "D") == []


@pytest.mark.slow
def test_nothing_of_a_header_is_prepared_trained_predicted_or_given_away(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The headers of this dataset are full of it, since they were kept."""
    raw, made = tmp_path / "Dataset001_Marked", tmp_path / "made"
    assert main(["convert", "bids", str(study), str(raw), "--keep-headers"]) == 0
    assert len(traces(raw)) == 9
    at = ["--workspace", str(made / "workspace")]
    small = ["--planner", "tiny", "-c", "2d", "--set", "network.features=[4,8,8]", "--set", "patch_size=32,32"]
    assert main(["plan_and_preprocess", str(raw), *small, *at]) == 0
    assert main(["train", raw.name, "0", "-c", "2d", *SHORT, *at]) == 0
    words = ["predict", "-d", raw.name, "-i", str(raw / "imagesTs"), "-o", str(made / "out"), "--probabilities"]
    assert main([*words, "--device", "cpu", *at]) == 0
    assert main(["export", raw.name, "-o", str(made / "model.zip"), *at]) == 0
    assert (made / "model.zip").is_file() and len(list((made / "out").rglob("*.nii.gz"))) == 2
    assert traces(made) == []
    said = capsys.readouterr()
    assert MARK not in said.out + said.err


def archive(folder: Path) -> Path:
    """Two patients and three studies; every text that DICOM knows says the mark."""
    pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed")
    from pydicom.datadict import DicomDictionary, keyword_for_tag

    texts = ("LO", "LT", "PN", "SH", "ST", "UC", "UT", "AE", "CS", "UR")
    needed = {"PhotometricInterpretation", "SpecificCharacterSet", "PixelPresentation", "LossyImageCompression"}
    keywords = [
        keyword_for_tag(tag)
        for tag, (kind, many, _, retired, _) in DicomDictionary.items()
        if kind in texts and not retired and many.startswith("1") and tag >> 16 in (8, 16, 24, 32, 40, 50, 64)
    ]
    for number, patient in enumerate(("A", "A", "B")):
        tags = {"t0020_000d": f"1.{number + 1}", "t0020_000e": f"1.{number + 1}.1", "t0008_0020": f"2020010{number}"}
        for path in write_series(folder / str(number), np.full((3, 6, 5), number), np.eye(3), **tags):
            data = pydicom.dcmread(path)
            for keyword in {*keywords} - needed:
                setattr(data, keyword, MARK)
            data.PatientID = f"{MARK}{patient}"
            data.save_as(path)
            assert path.read_bytes().count(MARK.encode()) > 300
    return folder


def test_dicom_leaves_its_texts_behind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = archive(tmp_path / "archive"), tmp_path / "D"
    label = sitk.GetImageFromArray(np.eye(6, 5, dtype=np.uint8)[None].repeat(3, 0))
    label.SetSpacing((0.5, 0.75, 2.0))
    label.SetOrigin((10.0, -20.0, 30.0))
    sitk.WriteImage(label, str(tmp_path / f"{MARK}B.nii.gz"))
    assert main(["convert", "dicom", str(source), str(target), "--label", "../{case}.nii.gz"]) == 0
    assert traces(target) == []
    assert json.loads((target / "dataset.json").read_text())["channel_names"] == {"0": "image"}
    names = sorted(path.name for path in target.rglob("*.nii.gz"))
    assert len(names) == 4 and all(name.startswith("case_") for name in names)
    said = capsys.readouterr()
    assert MARK not in said.out + said.err


def test_a_broken_study_is_named_by_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = archive(tmp_path / "archive")
    shutil.copy(sorted((source / "1").iterdir())[1], source / "1" / "copy.dcm")
    assert main(["convert", "dicom", str(source), str(tmp_path / "D")]) == 2
    said = capsys.readouterr()
    assert "1/copy.dcm" in said.err
    assert MARK not in said.out + said.err


def test_who_is_who_is_written_where_the_user_says(tmp_path: Path) -> None:
    source, table = archive(tmp_path / "archive"), tmp_path / "private" / "table.csv"
    assert main(["convert", "dicom", str(source), str(tmp_path / "D"), "--table", str(table)]) == 0
    assert traces(tmp_path / "D") == []
    rows = [line.split(",") for line in table.read_text().splitlines()]
    assert rows[0] == ["case", "patient", "study", "folder"]
    assert sorted(row[1:] for row in rows[1:]) == [
        [f"{MARK}A", "1.1", "0"], [f"{MARK}A", "1.2", "1"], [f"{MARK}B", "1.3", "2"],
    ]  # fmt: skip
    written = {path.name[: -len("_0000.nii.gz")] for path in (tmp_path / "D" / "imagesTs").iterdir()}
    assert {row[0] for row in rows[1:]} == written
    assert len({name.split("_")[1] for name in written}) == 2  # scans of one patient can be kept together
