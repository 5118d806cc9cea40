"""Slices become a volume by their positions; what is no volume is refused with the files that spoil it."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import positions, write_series, write_slice
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from autoseg.errors import DatasetError, ImageFileError
from autoseg.interop import dicom_series
from autoseg.interop.dicom_names import neutral_names, study_names
from autoseg.interop.dicom_series import Series, by_study, is_dicom, read_slice, stacked

FOLDER = os.environ.get("AUTOSEG_TEST_DATA")

rotations = st.integers(0, 2**32 - 1).map(lambda seed: Rotation.random(random_state=seed).as_matrix())


def names(count: int) -> list[str]:
    return [f"s{number}" for number in range(count)]


@given(rotation=rotations, count=st.integers(2, 30), step=st.floats(0.3, 8), seed=st.integers(0, 99))
def test_slices_in_any_order_and_at_any_angle_are_sorted(rotation: Any, count: int, step: float, seed: int) -> None:
    shuffled = np.random.default_rng(seed).permutation(count)
    order, distance = stacked(positions(rotation, count, step)[shuffled], rotation[:, 2], (1, 1), names(count))
    assert shuffled[order].tolist() == list(range(count))
    assert distance == pytest.approx(step)


@given(rotation=rotations, count=st.integers(4, 30), data=st.data())
def test_a_gap_is_found_wherever_it_is(rotation: Any, count: int, data: st.DataObject) -> None:
    gone = data.draw(st.integers(1, count - 2))
    kept = [number for number in range(count) if number != gone]
    with pytest.raises(DatasetError, match=f"gap: s{gone - 1} and s{gone + 1} are" if count > 4 else "gap"):
        stacked(positions(rotation, count, 2.5)[kept], rotation[:, 2], (1, 1), [f"s{number}" for number in kept])


@given(rotation=rotations, count=st.integers(2, 30), data=st.data())
def test_two_slices_at_one_place_are_found(rotation: Any, count: int, data: st.DataObject) -> None:
    again = data.draw(st.integers(0, count - 1))
    places = positions(rotation, count, 2.5)
    with pytest.raises(DatasetError, match=rf"1 slices lie where another one lies, s{again} and copy"):
        stacked(np.vstack([places, places[again]]), rotation[:, 2], (1, 1), [*names(count), "copy"])


@given(rotation=rotations, tilt=st.floats(0.2, 3))
def test_a_tilted_gantry_is_found(rotation: Any, tilt: float) -> None:
    places = positions(rotation, 9, 3.0) + np.outer(np.arange(9) * tilt, rotation[:, 1])
    with pytest.raises(DatasetError, match="straight above"):
        stacked(places, rotation[:, 2], (1, 1), names(9))


@given(rotation=rotations)
def test_positions_rounded_in_the_header_do_no_harm(rotation: Any) -> None:
    order, _ = stacked(np.round(positions(rotation, 40, 1.25), 3), rotation[:, 2], (0.7, 0.7), names(40))
    assert order == list(range(40))


def test_one_slice_is_no_volume() -> None:
    with pytest.raises(DatasetError, match="single slice"):
        stacked(np.zeros((1, 3)), np.array([0.0, 0.0, 1.0]), (1, 1), ["s0"])


def read_series(folder: Path) -> Series:
    slices = [found for path in sorted(folder.iterdir()) if (found := read_slice(path))]
    ((series,),) = by_study(slices).values()
    return series


@pytest.fixture
def axes() -> np.ndarray:
    matrix: np.ndarray = Rotation.from_euler("xyz", [10, -25, 40], degrees=True).as_matrix()
    return matrix


def test_a_series_is_the_volume_that_was_sliced(axes: np.ndarray, tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).integers(-1000, 3000, (9, 6, 5))
    write_series(tmp_path / "s", voxels, axes)
    read_series(tmp_path / "s").write([tmp_path / "volume.nii.gz"])
    image = sitk.ReadImage(str(tmp_path / "volume.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), voxels)
    assert image.GetPixelID() == sitk.sitkInt16
    assert image.GetSpacing() == pytest.approx((0.5, 0.75, 2.0))
    assert image.GetOrigin() == pytest.approx((10.0, -20.0, 30.0), abs=1e-4)
    np.testing.assert_allclose(np.array(image.GetDirection()).reshape(3, 3), axes, atol=1e-4)


def test_mixed_orientations_are_refused(axes: np.ndarray, tmp_path: Path) -> None:
    write_series(tmp_path, np.zeros((4, 6, 5)), axes)
    write_slice(tmp_path / "localizer.dcm", np.zeros((6, 5)), (0, 0, 0), np.roll(axes, 1, axis=1))
    with pytest.raises(DatasetError, match=r"localizer\.dcm.* are not parallel"):
        read_series(tmp_path).geometry()


def test_slices_of_another_size_are_refused(axes: np.ndarray, tmp_path: Path) -> None:
    write_series(tmp_path, np.zeros((4, 6, 5)), axes)
    write_slice(tmp_path / "other.dcm", np.zeros((7, 5)), positions(axes, 5, 2.0)[4], axes)
    with pytest.raises(DatasetError, match=r"other\.dcm and .* differ in size"):
        read_series(tmp_path).geometry()


def test_a_missing_slice_is_refused_by_its_neighbours(axes: np.ndarray, tmp_path: Path) -> None:
    paths = write_series(tmp_path, np.zeros((7, 6, 5)), axes)
    paths[3].unlink()
    with pytest.raises(
        DatasetError, match=rf"gap: .*/{paths[2].name} and .*/{paths[4].name} are 4 mm apart, the others 2"
    ):
        read_series(tmp_path).geometry()


def test_other_files_are_no_slices(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    (tmp_path / "b.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"nonsense")
    assert not is_dicom(tmp_path / "a.txt")
    assert is_dicom(tmp_path / "b.dcm")
    with pytest.raises(ImageFileError, match=r"b\.dcm: is an image but cannot be read"):
        read_slice(tmp_path / "b.dcm")
    report = b"\x02\x00\x02\x00UI\x1e\x001.2.840.10008.5.1.4.1.1.88.11\x00"
    (tmp_path / "b.dcm").write_bytes(b"\0" * 128 + b"DICM" + report + b"nonsense")
    assert read_slice(tmp_path / "b.dcm") is None


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        ("0020|0032", "nan\\0\\0"), ("0020|0032", "1e400\\0\\0"), ("0020|0032", "here"),
        ("0020|0037", "0\\0\\0\\0\\0\\0"), ("0020|0037", "1\\0\\0\\1\\0\\0"), ("0020|0037", "inf\\0\\0\\0\\1\\0"),
        ("0028|0030", "0\\1"), ("0028|0030", "-1\\1"), ("0028|0030", "nan\\1"), ("0028|0008", "many"),
    ],
)  # fmt: skip
def test_a_place_that_cannot_be_is_refused_by_name(axes: np.ndarray, tmp_path: Path, tag: str, value: str) -> None:
    write_series(tmp_path, np.zeros((3, 6, 5)), axes)
    first, *others = read_series(tmp_path).slices
    found = dicom_series._numbers(value)
    name = {"0020|0032": "position", "0020|0037": "orientation", "0028|0030": "spacing"}.get(tag)
    odd = replace(first, **{name: found}) if name else replace(first, tags=first.tags | {"frames": value})
    for slices in ((odd, *others), (odd,) * 2):
        with pytest.raises(DatasetError) as refused:
            Series(slices).geometry()
        assert first.path.name in str(refused.value)


def test_pixels_that_are_not_there_are_refused_by_name(axes: np.ndarray, tmp_path: Path) -> None:
    paths = write_series(tmp_path / "s", np.ones((3, 64, 50)), axes)
    content = paths[1].read_bytes()
    for cut in (len(content) - 5000, len(content) - 1000):
        paths[1].write_bytes(content[:cut])
        with pytest.raises((ImageFileError, DatasetError)):
            read_series(tmp_path / "s").write([tmp_path / "volume.nii.gz"])
    assert not (tmp_path / "volume.nii.gz").exists()


def test_a_pipe_is_no_slice(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.dcm")
    assert not is_dicom(tmp_path / "pipe.dcm")


def test_cases_are_called_after_patients_or_else_folders_and_numbered_by_date(axes: np.ndarray, tmp_path: Path) -> None:
    studies = [("1.1", "ann", "20200202", "x"), ("1.2", "ann", "20190101", "x"), ("1.3", "", "", "bob/deep")]
    for study, patient, date, folder in [*studies, ("1.4", "", "", ".")]:
        tags = {"t0020_000d": study, "t0020_000e": f"{study}.9", "t0010_0020": patient, "t0008_0020": date}
        write_series(tmp_path / folder, np.zeros((2, 3, 3)), axes, **tags)
    slices = [found for path in sorted(tmp_path.rglob("*.dcm")) if (found := read_slice(path))]
    named = study_names(by_study(slices), tmp_path)
    assert named == {"1.1": "ann_2", "1.2": "ann_1", "1.3": "bob", "1.4": tmp_path.name}


def test_neutral_names_say_who_is_one_patient_and_not_who(axes: np.ndarray, tmp_path: Path) -> None:
    def named(*studies: tuple[str, str, str]) -> dict[str, str]:
        folder = tmp_path / str(len(studies))
        for study, patient, date in studies:
            tags = {"t0020_000d": study, "t0020_000e": f"{study}.9", "t0010_0020": patient, "t0008_0020": date}
            write_series(folder / study, np.zeros((2, 3, 3)), axes, **tags)
        slices = [found for path in sorted(folder.rglob("*.dcm")) if (found := read_slice(path))]
        return neutral_names(by_study(slices), folder)

    ann, bob = ("1.1", "ann", "20190101"), ("1.3", "bob", "20180101")
    first = named(ann, bob)
    assert all(re.fullmatch("case_[0-9a-f]{10}", name) for name in first.values())
    assert len(set(first.values())) == 2
    later = named(ann, bob, ("1.2", "ann", "20200202"))
    assert later["1.3"] == first["1.3"]
    assert [later["1.1"], later["1.2"]] == [f"{first['1.1']}_1", f"{first['1.1']}_2"]


@pytest.mark.slow
@pytest.mark.skipif(not FOLDER, reason="AUTOSEG_TEST_DATA names no folder with datasets")
def test_a_real_series_lies_where_an_independent_reader_puts_it(tmp_path: Path) -> None:
    """pydicom reads the files, and the geometry is computed here by the formula of DICOM PS3.3 C.7.6.2.1."""
    pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed")
    folder = Path(str(FOLDER)) / "dicom" / "CHAOS_CT" / "CT"
    if not folder.is_dir():
        pytest.skip("AUTOSEG_TEST_DATA holds no DICOM series")
    read_series(folder).write([tmp_path / "ct.nii.gz"])
    image = sitk.ReadImage(str(tmp_path / "ct.nii.gz"))
    volume = sitk.GetArrayFromImage(image)
    assert len(volume) == len(list(folder.iterdir()))
    for path in sorted(folder.iterdir())[::11]:
        data = pydicom.dcmread(path)
        rows, columns = (
            np.array(data.ImageOrientationPatient[:3], float),
            np.array(data.ImageOrientationPatient[3:], float),
        )
        between_rows, between_columns = map(float, data.PixelSpacing)
        hounsfield = data.pixel_array * float(data.RescaleSlope) + float(data.RescaleIntercept)
        for row, column in ((0, 0), (17, 301), (511, 4)):
            place = (
                np.array(data.ImagePositionPatient, float)
                + rows * between_columns * column
                + columns * between_rows * row
            )
            x, y, z = image.TransformPhysicalPointToContinuousIndex(place.tolist())
            assert (x, y, z) == pytest.approx((column, row, round(z)), abs=1e-3)
            assert volume[round(z), row, column] == hounsfield[row, column]


@pytest.mark.skipif(not FOLDER, reason="AUTOSEG_TEST_DATA names no folder with datasets")
def test_a_real_series_lies_on_the_grid_of_its_reference() -> None:
    """The label map is NIfTI, made by others and read by nibabel."""
    nibabel = pytest.importorskip("nibabel", reason="nibabel is not installed")
    folder = Path(str(FOLDER)) / "dicom" / "CHAOS_CT"
    if not folder.is_dir():
        pytest.skip("AUTOSEG_TEST_DATA holds no DICOM series")
    geometry, _ = read_series(folder / "CT").geometry()
    reference = nibabel.load(folder / "reference" / "liver.nii.gz")
    assert geometry.shape == reference.shape[::-1]
    x, y, z = (np.array(geometry.direction).reshape(3, 3) * geometry.spacing[::-1]).T
    ours = np.column_stack((x, y, z, geometry.origin)) * np.array([[-1.0], [-1.0], [1.0]])  # LPS to RAS
    np.testing.assert_allclose(ours, reference.affine[:3], atol=1e-3)
