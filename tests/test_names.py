"""Names that strangers choose are refused where they enter, before anything is written under them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autoseg.core.geometry import Geometry
from autoseg.core.labels import ExclusiveLabels
from autoseg.core.records import from_json, read_json, to_json, write_json
from autoseg.data.dataset import Case, Dataset
from autoseg.data.layouts import read_dataset
from autoseg.errors import DatasetError, RecordError
from autoseg.parts.inputs import prior
from autoseg.parts.readers import write_channels, write_labels
from autoseg.plan import Plan

PATHS = ("/home/u/x", "../x", "..", "sub/a", "a\\b", ".hid", "a\0b", "\ud800", "con", "", "x" * 200, "a\x1bb", "a:b")
NO_ENDINGS = ("/../../evil.nii.gz", "", ".", "nii.gz", ".json", ".nii.gz/", "x.nii.gz", ".nii.gz" * 50, ".jpg", ".mhd")
NAME = "3d_fullres"


def dataset(**changes: object) -> Dataset:
    labels = ExclusiveLabels({"background": 0, "a": 1})
    cases = (Case.of_files("a", ("/a",), "/b"),)
    return replace(Dataset("D", "/d", ("CT",), labels, cases, ".nii.gz", "nnunet"), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", PATHS, ids=ascii)
def test_what_becomes_a_folder_is_no_path(small_plan: Plan, name: str) -> None:
    for refused in (
        lambda: Case.of_files(name, ("/a",)),
        lambda: dataset(name=name),
        lambda: replace(small_plan, dataset=name),
        lambda: replace(small_plan, configurations={name: small_plan.configurations[NAME]}, default=name),
        lambda: replace(small_plan.configurations[NAME], inputs=(prior.Spec(name),)),
    ):
        with pytest.raises(ValueError, match="cannot be the name of a file") as caught:
            refused()
        assert str(caught.value).encode()


@pytest.mark.parametrize("name", ["", "a\x1bb", "\ud800", "x" * 300], ids=ascii)
def test_what_is_shown_can_be_shown(small_plan: Plan, name: str) -> None:
    for refused in (
        lambda: dataset(channels=(name,)),
        lambda: replace(small_plan, channels=(name,)),
        lambda: replace(small_plan, planner=name),
        lambda: ExclusiveLabels({"background": 0, name: 1}),
    ):
        with pytest.raises(ValueError, match="cannot be a name"):
            refused()
    assert ExclusiveLabels({"background": 0, "prostate/uterus": 1})


@pytest.mark.parametrize("ending", NO_ENDINGS, ids=lambda ending: ending[:12])
def test_an_ending_is_one_that_can_be_written(small_plan: Plan, ending: str) -> None:
    for refused in (lambda: dataset(file_ending=ending), lambda: replace(small_plan, file_ending=ending)):
        with pytest.raises(ValueError, match=r"file_ending must be one of \.nii\.gz"):
            refused()


@pytest.mark.parametrize(
    "ending", [".nii.gz", ".NII.GZ", ".nii", ".nrrd", ".mha", ".png", ".bmp", ".tif", ".tiff", ".gipl"]
)
def test_every_ending_of_nnunet_is_one(small_plan: Plan, ending: str) -> None:
    assert dataset(file_ending=ending).file_ending == replace(small_plan, file_ending=ending).file_ending == ending


def test_two_cases_have_two_names() -> None:
    with pytest.raises(ValueError, match="two cases 'a'"):
        dataset(cases=(Case.of_files("a", ("/a",)), Case.of_files("a", ("/b",))))


def test_files_may_lie_anywhere_and_be_called_as_nobody_can_print(tmp_path: Path) -> None:
    found = dataset(
        cases=(Case.of_files("a", ("/mnt/\udce4\udcf6/a.nii.gz",), "/ä/b"),)
    )  # not UTF-8, as Python reads it
    write_json(tmp_path / "dataset.json", found)
    assert read_json(tmp_path / "dataset.json", Dataset) == found


@pytest.mark.parametrize("name", PATHS, ids=ascii)
def test_a_workspace_that_was_edited_is_refused_with_its_file(name: str) -> None:
    record = json.loads(json.dumps(to_json(dataset())))
    record["cases"][0]["key"] = name
    with pytest.raises(RecordError, match=r"dataset.json.cases\[0\]: case .* cannot be the name of a file"):
        from_json(Dataset, record, "dataset.json")


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """One case with one label, without a dataset.json."""
    folder, shape = tmp_path / "Dataset007_Thing", (3, 4, 5)
    geometry = Geometry.plain(shape, (1.0, 1.0, 1.0))
    write_channels(np.ones((1, *shape), np.float32), geometry, folder / "imagesTr/a_0000.nii.gz")
    write_labels(np.ones(shape, np.uint8), geometry, folder / "labelsTr/a.nii.gz")
    return folder


def described(folder: Path, **changes: object) -> Dataset:
    description = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "a": 1},
        "file_ending": ".nii.gz",
    } | changes
    (folder / "dataset.json").write_text(json.dumps(description))
    return read_dataset(folder)


@pytest.mark.parametrize("key", PATHS, ids=ascii)
def test_a_listed_case_that_is_called_like_a_path_is_refused(raw: Path, key: str) -> None:
    with pytest.raises(DatasetError, match="cannot be the name of a file") as caught:
        described(raw, dataset={key: {"images": ["imagesTr/a_0000.nii.gz"], "label": "labelsTr/a.nii.gz"}})
    assert str(raw) in str(caught.value) and len(str(caught.value)) < 2000 and str(caught.value).encode()


def test_regions_that_would_be_lost_are_refused_before_anything_is_measured(raw: Path) -> None:
    regions = {"background": 0, "whole": [1, 2, 3, 4], "core": [1, 2, 3], "enhancing": 1}
    with pytest.raises(DatasetError, match=r'Write "regions_class_order": \[4, 2, 1\]'):
        described(raw, labels=regions, regions_class_order=[1, 2, 3])
    assert described(raw, labels=regions, regions_class_order=[4, 2, 1]).labels.heads == 3
