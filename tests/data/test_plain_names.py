"""Folders without nnU-Net's layout: names by flags or a dataset.json, label maps called CASE_seg."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest

from autoseg.core.geometry import Geometry
from autoseg.core.labels import ExclusiveLabels
from autoseg.data.layouts import Names, find_images, read_dataset
from autoseg.errors import DatasetError, UsageError
from autoseg.parts.readers import write_channels, write_labels

SHAPE = (3, 4, 5)
GRID = Geometry.plain(SHAPE, (1.0, 1.0, 1.0))
LABELS = np.arange(60).reshape(SHAPE) % 4  # 0 to 3


def folder(root: Path, *labels: str, channels: int = 2, images: str = "images", labelled: str = "labels") -> Path:
    """Cases a, b, ... with files per channel, and label maps of these names."""
    for key, label in zip("abc", labels):
        for number in range(channels):
            write_channels(np.ones((1, *SHAPE), np.float32), GRID, root / f"{images}/{key}_{number:04d}.nii.gz")
        write_labels(LABELS, GRID, root / f"{labelled}/{label}.nii.gz")
    return root


def test_channels_and_labels_get_the_names_that_are_given(tmp_path: Path) -> None:
    raw = folder(tmp_path, "a", "b")
    dataset = read_dataset(raw, Names(("T1", "T2"), ("CSF", "GM", "WM")))
    assert dataset.channels == ("T1", "T2")
    assert dataset.labels == ExclusiveLabels({"background": 0, "CSF": 1, "GM": 2, "WM": 3})
    assert read_dataset(raw, Names(labels=("x", "y", "z"))).channels == ("channel_0", "channel_1")


@pytest.mark.parametrize(
    ("channels", "labels", "said"),
    [
        (("T1",), (), "--channels names 1, but the cases in .* have 2 channels"),
        ((), ("CSF", "GM"), "--labels names 2 labels, .* hold 3 values: 1, 2, 3"),
    ],
)
def test_names_have_to_be_as_many_as_there_are(tmp_path: Path, channels, labels, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_dataset(folder(tmp_path, "a"), Names(channels, labels))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"channels": ("T1", "T1")}, "every name once"),
        ({"labels": ("background", "a")}, "leave background out"),
        ({"labels": ("a\x1b",)}, "cannot be printed"),
    ],
)
def test_what_is_no_name_is_refused(given: dict[str, tuple[str, ...]], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Names(**given)


@pytest.mark.parametrize(("images", "labelled"), [("images", "labels"), ("images", "masks"), ("imagesTr", "labelsTr")])
def test_a_dataset_json_in_the_folder_names_them(tmp_path: Path, images: str, labelled: str) -> None:
    raw = folder(tmp_path, "a", "b", images=images, labelled=labelled)
    described = {"channel_names": {"0": "CT", "1": "PET"}, "labels": {"background": 0, "x": 1, "y": 2, "z": 3}}
    (raw / "dataset.json").write_text(json.dumps(described))
    dataset = read_dataset(raw)
    assert (dataset.channels, dataset.keys) == (("CT", "PET"), ("a", "b"))
    assert [*dataset.labels.foreground] == ["x", "y", "z"]
    with pytest.raises(UsageError, match=r"dataset.json names channels and labels; change it there"):
        read_dataset(raw, Names(("T1", "T2")))


@pytest.mark.parametrize("ending", ["_seg", "_label", "-mask", "_Segmentation", ".gt"])
@pytest.mark.parametrize("described", [False, True])
def test_an_ending_that_all_label_maps_share_is_no_part_of_their_names(
    tmp_path: Path, ending: str, described: bool, caplog: pytest.LogCaptureFixture
) -> None:
    raw = folder(tmp_path, f"a{ending}", f"b{ending}")
    if described:
        labels = {"background": 0, "x": 1, "y": 2, "z": 3}
        (raw / "dataset.json").write_text(json.dumps({"channel_names": {"0": "T1", "1": "T2"}, "labels": labels}))
    with caplog.at_level(logging.INFO, "autoseg"):
        dataset = read_dataset(raw)
    assert dataset.keys == ("a", "b") and dataset.case("a").label == str(raw / f"labels/a{ending}.nii.gz")
    assert f"the label map of CASE is called CASE{ending}" in caplog.text


def test_images_that_end_so_themselves_keep_their_names(tmp_path: Path) -> None:
    for key in ("a_seg", "b_seg"):
        write_channels(np.ones((1, *SHAPE), np.float32), GRID, tmp_path / f"images/{key}.nii.gz")
        write_labels(LABELS, GRID, tmp_path / f"labels/{key}.nii.gz")
    assert read_dataset(tmp_path).keys == ("a_seg", "b_seg")


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (("a_seg", "b_mask"), r"CASE_seg \(1\), CASE_mask \(1\)"),
        (("a_seg", "b_seg", "c"), r"CASE_seg \(2\), CASE \(1\)"),
    ],
)
def test_different_endings_are_told(tmp_path: Path, labels: tuple[str, ...], said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        read_dataset(folder(tmp_path, *labels))


def test_in_nnunets_layout_the_ending_has_to_be_dropped_and_is_named(tmp_path: Path) -> None:
    raw = folder(tmp_path, "a_seg", images="imagesTr", labelled="labelsTr")
    labels = {"background": 0, "x": 1, "y": 2, "z": 3}
    (raw / "dataset.json").write_text(json.dumps({"channel_names": {"0": "T1", "1": "T2"}, "labels": labels}))
    with pytest.raises(DatasetError, match=r"leave _seg out of its name"):
        read_dataset(raw)


@pytest.mark.parametrize("inside", [".", "patient", "patient/study/series"])
def test_a_folder_of_dicom_files_is_sent_to_convert(tmp_path: Path, inside: str) -> None:
    place = tmp_path / "scans" / inside
    place.mkdir(parents=True)
    (place / "IM0001").write_bytes(bytes(128) + b"DICM" + bytes(100))
    with pytest.raises(DatasetError, match="autoseg convert dicom FOLDER DATASET"):
        find_images(tmp_path / "scans", 1)


def test_other_folders_are_not(tmp_path: Path) -> None:
    (tmp_path / "scans/notes").mkdir(parents=True)
    (tmp_path / "scans/notes/README").write_text("nothing")
    with pytest.raises(DatasetError) as told:
        find_images(tmp_path / "scans", 1)
    assert "dicom" not in str(told.value).lower().replace(str(tmp_path).lower(), "")
