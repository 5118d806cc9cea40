"""Datasets whose cases have several masks: which file is whose, and what is said where that cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from autoseg.core.geometry import Geometry
from autoseg.core.masks import MaskLabels
from autoseg.data.dataset import Case
from autoseg.data.layouts import read_dataset
from autoseg.errors import DatasetError
from autoseg.parts.readers import write_channels, write_labels

GEOMETRY = Geometry.plain((3, 4, 5), (1.0, 1.0, 1.0))


def described(folder: Path, **fields: object) -> None:
    basic = {"channel_names": {"0": "X-ray"}, "masks": ["lung", "heart"], "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(basic | fields))


def touched(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_labels(np.zeros(GEOMETRY.shape, np.uint8), GEOMETRY, path)


def made(folder: Path, cases: tuple[str, ...] = ("a", "a_b"), **fields: object) -> Path:
    described(folder, **fields)
    for key in cases:
        touched(folder / "imagesTr" / f"{key}_0000.nii.gz")
        touched(*(folder / "labelsTr" / f"{key}_{mask}.nii.gz" for mask in ("lung", "heart")))
    return folder


def refused(folder: Path) -> str:
    with pytest.raises(DatasetError) as error:
        read_dataset(folder)
    return str(error.value)


def test_a_file_per_mask(tmp_path: Path) -> None:
    dataset = read_dataset(made(tmp_path))
    assert dataset.labels == MaskLabels(("lung", "heart"))
    assert dataset.keys == ("a", "a_b") and dataset.file_ending == ".nii.gz"
    for case in dataset.cases:
        assert [path.name for path in case.label_files] == [f"{case.key}_lung.nii.gz", f"{case.key}_heart.nii.gz"]
        assert case.label is None and [path.name for path in case.files[:1]] == [f"{case.key}_0000.nii.gz"]
        assert len(case.files) == 3 and case.picked == ""


def test_one_file_with_all_masks(tmp_path: Path) -> None:
    described(tmp_path, masks_in_channels=True)
    touched(tmp_path / "imagesTr" / "a_0000.nii.gz")
    (tmp_path / "labelsTr").mkdir()
    write_channels(np.zeros((2, *GEOMETRY.shape), np.uint8), GEOMETRY, tmp_path / "labelsTr" / "a.nii.gz")
    dataset = read_dataset(tmp_path)
    assert dataset.labels == MaskLabels(("lung", "heart"), in_channels=True)
    assert dataset.case("a").label == str(tmp_path / "labelsTr" / "a.nii.gz")
    assert dataset.case("a").label_files == (tmp_path / "labelsTr" / "a.nii.gz",)


def test_a_missing_mask_is_named(tmp_path: Path) -> None:
    made(tmp_path)
    (tmp_path / "labelsTr" / "a_b_heart.nii.gz").unlink()
    said = refused(tmp_path)
    assert "case a_b: a_b_heart.nii.gz is missing" in said and '"absent_masks_are_empty": true' in said


def test_a_missing_mask_may_mean_that_it_is_empty(tmp_path: Path) -> None:
    made(tmp_path, absent_masks_are_empty=True)
    for name in ("a_b_heart", "a_b_lung", "a_lung"):
        (tmp_path / "labelsTr" / f"{name}.nii.gz").unlink()
    dataset = read_dataset(tmp_path)
    first, second = dataset.cases
    assert first.masks == (None, str(tmp_path / "labelsTr" / "a_heart.nii.gz"))
    assert second.masks == second.label_files == (None, None)
    assert first.picked and first.picked != Case("a", first.images, None, first.masks[::-1]).picked


def test_files_of_no_mask_and_no_case_are_named(tmp_path: Path) -> None:
    made(tmp_path)
    touched(tmp_path / "labelsTr" / "a_liver.nii.gz", tmp_path / "labelsTr" / "c_lung.nii.gz")
    touched(tmp_path / "labelsTr" / "_heart.nii.gz")
    said = refused(tmp_path)
    assert "a_liver.nii.gz belongs to no mask" in said and "_heart.nii.gz belongs to no mask" in said
    assert "c_lung.nii.gz: there is no image of case c" in said and "lung, heart" in said


def test_all_masks_in_one_file_are_pointed_to_their_flag(tmp_path: Path) -> None:
    described(tmp_path)
    touched(tmp_path / "imagesTr" / "a_0000.nii.gz", tmp_path / "labelsTr" / "a.nii.gz")
    assert '"masks_in_channels": true' in refused(tmp_path)


def test_two_files_of_one_mask_are_named(tmp_path: Path) -> None:
    made(tmp_path)
    touched(tmp_path / "labelsTr" / "a_lung.mha")
    assert "case a: two files of one mask, a_lung.mha and a_lung.nii.gz" in refused(tmp_path)


def test_a_file_lists_masks_by_name(tmp_path: Path) -> None:
    images, masks = tmp_path / "scans" / "a.nii.gz", [tmp_path / "drawn" / name for name in ("one.mha", "two.nii.gz")]
    touched(images, *masks)
    label = {"heart": "drawn/two.nii.gz", "lung": "drawn/one.mha"}
    listed = {"a": {"images": ["scans/a.nii.gz"], "label": label}}
    described(tmp_path, dataset=listed)
    dataset = read_dataset(tmp_path)
    assert dataset.case("a").masks == tuple(map(str, masks)) and dataset.file_ending == ".mha"
    for wrong, said in [
        ("drawn/two.nii.gz", "must name a file for each mask"),
        ({"lung": "drawn/one.mha"}, "the mask 'heart' has no file"),
        ({"lung": "drawn/one.mha", "heart": None}, "the mask 'heart' has no file"),
        (label | {"liver": "x.nii.gz"}, "'liver' is not among the masks lung, heart"),
        (label | {"heart": 3}, "must name a file for each mask"),
        (label | {"heart": "drawn/none.nii.gz"}, "none.nii.gz does not exist"),
    ]:
        described(tmp_path, dataset={"a": {"images": ["scans/a.nii.gz"], "label": wrong}})
        assert said in refused(tmp_path)
    described(tmp_path, dataset=listed, absent_masks_are_empty=True)
    assert read_dataset(tmp_path).case("a").masks == tuple(map(str, masks))
    described(tmp_path, dataset={"a": listed["a"] | {"label": {"lung": "drawn/one.mha"}}}, absent_masks_are_empty=True)
    assert read_dataset(tmp_path).case("a").masks == (str(masks[0]), None)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"labels": {"background": 0, "lung": 1}}, "has both `labels` and `masks`"),
        ({"masks": {"lung": 1}}, "masks must be a list of names"),
        ({"masks": ["lung", 3]}, "masks must be a list of names"),
        ({"masks": []}, "at least one mask"),
        ({"masks": ["lung", "Lung"]}, "up to upper and lower case"),
        ({"masks": ["lung", "right_lung"]}, "one name ends in the other"),
        ({"masks": [f"rib {number}" for number in range(40)]}, "40 masks, but at most 16"),
        ({"masks": ["a/b"]}, "cannot be the name of a file"),
        ({"masks_in_channels": "yes"}, "masks_in_channels must be true or false"),
        ({"absent_masks_are_empty": 1}, "absent_masks_are_empty must be true or false"),
    ],
)
def test_what_a_description_cannot_say(tmp_path: Path, fields: dict[str, object], said: str) -> None:
    made(tmp_path, **fields)
    found = refused(tmp_path)
    assert said in found and str(tmp_path / "dataset.json") in found


def test_masks_in_pictures_cannot_be_channels(tmp_path: Path) -> None:
    described(tmp_path, masks_in_channels=True, file_ending=".png")
    flat = Geometry.plain_2d((4, 5))
    for place in ("imagesTr", "labelsTr"):
        (tmp_path / place).mkdir()
        write_labels(np.zeros((1, 4, 5), np.uint8), flat, tmp_path / place / "a.png")
    assert "could not be written as channels of such a file" in refused(tmp_path)
