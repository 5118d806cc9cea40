"""Folders become cases, and a folder that does not fit is refused with the names of the files."""

from __future__ import annotations

import gzip
import json
import logging
import os
import tracemalloc
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image as Pillow

from autoseg.core.geometry import Geometry
from autoseg.core.labels import ExclusiveLabels
from autoseg.data.layouts import find_images, read_dataset
from autoseg.errors import DatasetError
from autoseg.parts.readers import write_channels, write_labels

SHAPE = (3, 4, 5)
GEOMETRY = Geometry.plain(SHAPE, (1.0, 1.0, 1.0))
DESCRIPTION = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "a": 1},
    "numTraining": 2,
    "file_ending": ".nii.gz",
}


def image(path: Path, channels: int = 1) -> None:
    write_channels(np.ones((channels, *SHAPE), np.float32), GEOMETRY, path)


def label(path: Path, value: int = 1) -> None:
    array = np.zeros(SHAPE, np.int32)
    array[0, 0, 0] = value
    write_labels(array, GEOMETRY, path)


def describe(folder: Path, **changes: object) -> None:
    description = {key: value for key, value in (DESCRIPTION | changes).items() if value is not None}
    (folder / "dataset.json").write_text(json.dumps(description))


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """nnU-Net's raw layout, two cases."""
    folder = tmp_path / "Dataset007_Thing"
    for key in ("b", "a"):
        image(folder / f"imagesTr/{key}_0000.nii.gz")
        label(folder / f"labelsTr/{key}.nii.gz")
    describe(folder)
    return folder


def test_nnunet_layout_is_read_in_the_order_of_the_keys(raw: Path) -> None:
    dataset = read_dataset(raw)
    assert (dataset.name, dataset.folder, dataset.layout) == ("Dataset007_Thing", str(raw), "nnunet")
    assert dataset.keys == ("a", "b")
    assert dataset.cases[0].image_files == (raw / "imagesTr/a_0000.nii.gz",)
    assert dataset.cases[0].label == str(raw / "labelsTr/a.nii.gz")
    assert dataset.file_ending == ".nii.gz"


@pytest.mark.parametrize("names", [("licence", "citation"), ("license", "reference")])
def test_licence_and_citation_are_taken_over(raw: Path, names: tuple[str, str]) -> None:
    describe(raw, **dict(zip(names, ("CC BY 4.0", " Doe 2026 "))))
    dataset = read_dataset(raw)
    assert (dataset.licence, dataset.citation) == ("CC BY 4.0", "Doe 2026")


def test_channels_are_in_the_order_of_their_numbers(raw: Path) -> None:
    for number in (10, 2, 1):
        image(raw / f"imagesTr/a_{number:04d}.nii.gz")
    numbers = [path.name[2:6] for path in read_dataset(raw).case("a").image_files]
    assert numbers == ["0000", "0001", "0002", "0010"]


def test_hidden_files_are_no_images(raw: Path) -> None:
    (raw / "imagesTr/._a_0000.nii.gz").touch()
    (raw / "labelsTr/._a.nii.gz").touch()
    assert read_dataset(raw).keys == ("a", "b")


def test_labels_may_have_another_ending_than_images(raw: Path) -> None:
    for key in "ab":
        (raw / f"labelsTr/{key}.nii.gz").unlink()
        label(raw / f"labelsTr/{key}.nrrd")
    assert read_dataset(raw).file_ending == ".nrrd"


def test_another_number_of_cases_than_announced_is_a_warning(raw: Path, caplog: pytest.LogCaptureFixture) -> None:
    describe(raw, numTraining=5)
    with caplog.at_level(logging.WARNING, "autoseg"):
        assert len(read_dataset(raw).cases) == 2
    assert "numTraining is 5" in caplog.text


def test_all_mismatches_are_named_at_once(raw: Path) -> None:
    image(raw / "imagesTr/c_0000.nii.gz")
    image(raw / "imagesTr/d_0000.nii.gz")
    label(raw / "labelsTr/e.nii.gz")
    label(raw / "labelsTr/a.nrrd")
    with pytest.raises(DatasetError) as caught:
        read_dataset(raw)
    for words in ("case c: no label", "case d: no label", "case e: e.nii.gz has no image", "case a: two label files"):
        assert words in str(caught.value)


def test_no_cases_says_what_is_there_instead(raw: Path) -> None:
    describe(raw, file_ending=".nii")
    with pytest.raises(DatasetError, match=r"ending \.nii; found 2 ending \.nii\.gz"):
        read_dataset(raw)
    for path in (raw / "imagesTr").iterdir():
        path.unlink()
    with pytest.raises(DatasetError, match="found nothing"):
        read_dataset(raw)


def test_a_folder_that_is_no_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such folder"):
        read_dataset(tmp_path / "nowhere")
    (tmp_path / "letters").mkdir()
    with pytest.raises(DatasetError, match=r"not a dataset.*found letters"):
        read_dataset(tmp_path)


def test_a_case_list_may_name_absolute_files_and_must_name_existing_ones(raw: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere/scan.nii.gz"
    image(elsewhere)
    entry = {"images": [str(elsewhere)], "label": "labelsTr/a.nii.gz"}
    describe(raw, dataset={"x": entry})
    assert read_dataset(raw).case("x").image_files == (elsewhere,)
    describe(raw, dataset={"x": entry, "y": {"images": ["gone.nii.gz"], "label": "labelsTr/b.nii.gz"}})
    with pytest.raises(DatasetError, match=r"case y: .*gone\.nii\.gz does not exist"):
        read_dataset(raw)


def test_the_decathlon_s_list_also_finds_files_that_nnunet_1_split(raw: Path) -> None:
    training = [{"image": f"./imagesTr/{key}.nii.gz", "label": f"./labelsTr/{key}.nii.gz"} for key in "ab"]
    describe(raw, training=training, file_ending=None)
    dataset = read_dataset(raw)
    assert dataset.layout == "nnunet"
    assert dataset.case("a").image_files == (raw / "imagesTr/a_0000.nii.gz",)


def test_plain_folders_are_understood(tmp_path: Path) -> None:
    for key, value in (("a", 205), ("b", 420)):
        for number in range(2):
            image(tmp_path / f"images/{key}_{number:04d}.nii.gz")
        label(tmp_path / f"labels/{key}.nrrd", value)
    dataset = read_dataset(tmp_path)
    assert dataset.layout == "plain"
    assert dataset.labels == ExclusiveLabels({"background": 0, "label_205": 205, "label_420": 420})
    assert len(dataset.channels) == 2
    assert len(dataset.case("a").image_files) == 2


def test_keys_that_end_in_four_digits_are_no_channels_when_a_label_has_that_name(tmp_path: Path) -> None:
    for number in range(3):
        image(tmp_path / f"images/patient_{number:04d}.nii.gz")
        label(tmp_path / f"labels/patient_{number:04d}.nii.gz")
    assert read_dataset(tmp_path).keys == ("patient_0000", "patient_0001", "patient_0002")


def test_black_and_white_masks_of_pictures_are_labels(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    Pillow.fromarray(np.full((4, 5, 3), 7, np.uint8)).save(tmp_path / "images/a.jpg")
    mask = np.zeros((1, 4, 5), np.uint8)
    mask[0, 0] = 255
    write_labels(mask, Geometry.plain_2d((4, 5)), tmp_path / "masks/a.png")
    dataset = read_dataset(tmp_path)
    assert dataset.channels == ("R", "G", "B")
    assert dataset.labels == ExclusiveLabels({"background": 0, "label_255": 255})
    assert dataset.file_ending == ".png"


def test_images_in_the_place_of_labels_are_noticed(tmp_path: Path) -> None:
    image(tmp_path / "images/a.nii.gz")
    write_labels(
        np.arange(2000).reshape(1, 40, 50), Geometry.plain((1, 40, 50), (1, 1, 1)), tmp_path / "labels/a.nii.gz"
    )
    with pytest.raises(DatasetError, match="2000 different values"):
        read_dataset(tmp_path)


@pytest.mark.slow
def test_a_large_label_map_that_fits_no_image_is_not_unpacked(tmp_path: Path) -> None:
    for key in "ab":
        image(tmp_path / f"images/{key}.nii.gz")
    write_labels(np.arange(60).reshape(3, 4, 5) % 3, Geometry.plain((3, 4, 5), (1, 1, 1)), tmp_path / "labels/a.nii.gz")
    voxels = nibabel.Nifti1Image(np.zeros((500, 500, 500), np.uint8), np.eye(4)).to_bytes()
    (tmp_path / "labels/b.nii.gz").write_bytes(gzip.compress(voxels, 1))
    del voxels
    tracemalloc.start()
    try:
        assert read_dataset(tmp_path).labels.values == (0, 1, 2)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_images_to_predict_are_grouped_by_channel(tmp_path: Path) -> None:
    for name in ("b_0000", "b_0001", "a_0001", "a_0000"):
        image(tmp_path / f"{name}.nii.gz")
    cases, refused = find_images(tmp_path, 2)
    assert not refused
    assert [case.key for case in cases] == ["a", "b"]
    assert [path.name for path in cases[0].image_files] == ["a_0000.nii.gz", "a_0001.nii.gz"]
    assert cases[0].label is None


def test_one_file_may_hold_all_channels(tmp_path: Path) -> None:
    image(tmp_path / "a_0000.nii.gz", channels=2)
    image(tmp_path / "b.nii.gz", channels=2)
    assert [case.key for case in find_images([tmp_path / "b.nii.gz", tmp_path / "a_0000.nii.gz"], 2)[0]] == ["a", "b"]


def test_numbered_images_are_cases_when_none_is_number_0000(tmp_path: Path) -> None:
    for number in (1, 2):
        image(tmp_path / f"scan_{number:04d}.nii.gz")
    assert [case.key for case in find_images(tmp_path, 1)[0]] == ["scan_0001", "scan_0002"]


def test_all_cases_with_missing_channels_are_named_and_the_others_taken(tmp_path: Path) -> None:
    for name in ("a_0000", "b_0000", "b_0001", "c_0000", "d:_0000", "d:_0001"):
        image(tmp_path / f"{name}.nii.gz")
    image(tmp_path / "e_0000.nii.gz", channels=3)
    image(tmp_path / "f_0000.nii.gz")
    image(tmp_path / "f_0002.nii.gz")
    cases, refused = find_images(tmp_path, 2)
    assert [case.key for case in cases] == ["b"]
    assert sorted(refused) == ["a", "c", "d:", "e", "f"]
    assert refused["a"] == "the model needs 2 channels, found a_0000.nii.gz; a_0001 is missing"
    assert "needs another name" in refused["d:"]
    assert refused["e"] == "the model needs 2 channels, found e_0000.nii.gz (holds 3 channels)"
    assert "_0001 is missing" in refused["f"]
    (tmp_path / "b_0001.nii.gz").unlink()
    with pytest.raises(DatasetError, match=r"case a: the model needs 2 channels(.|\n)*case b: the model"):
        find_images(tmp_path, 2)


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    for folder in "xy":
        image(tmp_path / folder / "a.nii.gz")
    with pytest.raises(DatasetError, match="case a: a is given twice"):
        find_images([tmp_path / "x", tmp_path / "y/a.nii.gz"], 1)


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DatasetError, match=r"found 1 ending \.txt"):
        find_images(tmp_path, 1)
    with pytest.raises(DatasetError, match="no such file"):
        find_images(tmp_path / "gone", 1)


@pytest.mark.skipif(
    "AUTOSEG_TEST_DATA" not in os.environ, reason="AUTOSEG_TEST_DATA names no folder with real datasets"
)
def test_real_datasets_are_read_whole() -> None:
    folders = [path.parent for path in Path(os.environ["AUTOSEG_TEST_DATA"]).glob("*/dataset.json")]
    assert folders
    for folder in folders:
        announced = json.loads((folder / "dataset.json").read_text())["numTraining"]
        assert len(read_dataset(folder).cases) == announced
