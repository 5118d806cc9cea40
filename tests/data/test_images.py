"""Cases that lack channels: what the layouts make of gaps, how their voxels are read, measured and prepared."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoseg.cli import main
from autoseg.core.geometry import Geometry, Image
from autoseg.core.records import from_json, to_json
from autoseg.data.dataset import Case, Dataset, ImageSource
from autoseg.data.images import read_case
from autoseg.data.layouts import read_dataset
from autoseg.errors import DatasetError
from autoseg.inspection.check import check_headers
from autoseg.inspection.extract import extract_fingerprint
from autoseg.parts.readers import write_channels, write_labels
from autoseg.preprocessing.store import CaseStore
from autoseg.workspace import Workspace

SHAPE = (6, 20, 24)
GEOMETRY = Geometry.plain(SHAPE, (1.0, 1.0, 1.0))
NAMES = ("T1", "T2", "FLAIR")
AVAILABLE = {"a": (0, 1, 2), "b": (0, 2), "c": (1, 2), "d": (0, 1, 2), "e": (0, 1)}


def voxels(key: str, channel: int) -> np.ndarray:
    generator = np.random.default_rng(ord(key) + 100 * channel)
    return generator.normal(100 * (channel + 1), 10, SHAPE).astype(np.float32)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Three channels, of which three of five cases lack one."""
    folder = tmp_path / "Dataset001_Gaps"
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:4, 5:15, 5:15] = 1
    for key, channels in AVAILABLE.items():
        for channel in channels:
            write_channels(voxels(key, channel)[None], GEOMETRY, folder / f"imagesTr/{key}_{channel:04d}.nii.gz")
        write_labels(labels, GEOMETRY, folder / f"labelsTr/{key}.nii.gz")
    describe(folder)
    return folder


def describe(folder: Path, **more: Any) -> None:
    names = dict(zip("012", NAMES))
    described = {"channel_names": names, "labels": {"background": 0, "x": 1}, "file_ending": ".nii.gz"} | more
    (folder / "dataset.json").write_text(json.dumps(described))


def test_a_gap_is_a_channel_that_the_case_lacks(raw: Path) -> None:
    dataset = read_dataset(raw)
    assert {case.key: tuple(sorted({0, 1, 2} - {*case.absent})) for case in dataset.cases} == AVAILABLE
    assert [path.name for path in dataset.case("c").image_files] == ["c_0001.nii.gz", "c_0002.nii.gz"]


@pytest.mark.parametrize("key", AVAILABLE)
def test_voxels_are_those_of_the_channel_that_the_name_says(raw: Path, key: str) -> None:
    image = read_case(read_dataset(raw).case(key))
    assert image.absent == tuple(sorted({0, 1, 2} - {*AVAILABLE[key]}))
    for channel in range(3):
        expected = voxels(key, channel) if channel in AVAILABLE[key] else np.zeros(SHAPE)
        np.testing.assert_array_equal(image.array[channel], expected)


def test_an_explicit_list_says_null_for_what_is_absent(raw: Path) -> None:
    images = {
        "b": ["imagesTr/b_0000.nii.gz", None, "imagesTr/b_0002.nii.gz"],
        "c": [None, *["imagesTr/c_0001.nii.gz"] * 2],
    }
    describe(raw, dataset={key: {"images": each, "label": f"labelsTr/{key}.nii.gz"} for key, each in images.items()})
    dataset = read_dataset(raw)
    assert [case.absent for case in dataset.cases] == [(1,), (0,)]
    np.testing.assert_array_equal(read_case(dataset.case("b")).array[2], voxels("b", 2))
    describe(raw, dataset={"b": {"images": [None, None, None], "label": "labelsTr/b.nii.gz"}})
    with pytest.raises(DatasetError, match="case b must be"):
        read_dataset(raw)


def test_a_file_of_one_channel_is_not_all_channels(raw: Path) -> None:
    for key in ("b", "e"):
        (raw / f"imagesTr/{key}_000{2 if key == 'b' else 1}.nii.gz").unlink()
    assert [read_dataset(raw).case(key).absent for key in ("b", "e")] == [(1, 2), (1, 2)]
    whole = np.stack([voxels("b", channel) for channel in range(3)])
    write_channels(whole, GEOMETRY, raw / "imagesTr/b_0000.nii.gz")
    case = read_dataset(raw).case("b")
    assert case.images == tuple(ImageSource(str(raw / "imagesTr/b_0000.nii.gz"), number) for number in range(3))
    np.testing.assert_array_equal(read_case(case).array, whole)


def test_check_names_what_a_case_lacks(raw: Path) -> None:
    problems = check_headers(read_dataset(raw), 1)
    assert [(each.case, each.severity) for each in problems] == [("b", "note"), ("c", "note"), ("e", "note")]
    assert problems[0].what == "lacks channel 1 (T2); found b_0000.nii.gz, b_0002.nii.gz"


def test_a_channel_that_no_case_has_is_an_error(raw: Path) -> None:
    for path in raw.glob("imagesTr/*_0001.nii.gz"):
        path.unlink()
    errors = [each for each in check_headers(read_dataset(raw), 1) if each.severity == "error"]
    assert [each.what for each in errors] == ["no case has channel 1 (T2)"]


def test_statistics_are_those_of_the_cases_that_have_the_channel(raw: Path, tmp_path: Path) -> None:
    fingerprint, problems = extract_fingerprint(read_dataset(raw), tmp_path / "measured", 1, unfit=())
    assert not [each for each in problems if each.severity == "error"]
    inside = (slice(2, 4), slice(5, 15), slice(5, 15))
    for channel, found in enumerate(fingerprint.intensities):
        values = [voxels(key, channel)[inside] for key, channels in AVAILABLE.items() if channel in channels]
        assert found.mean == pytest.approx(np.mean(values), rel=1e-5)
        assert found.min == np.min(values)
    assert fingerprint.cases["b"].absent == (1,)
    assert fingerprint.cases["a"].absent == ()
    again, _ = extract_fingerprint(read_dataset(raw), tmp_path / "measured", 1, unfit=())
    assert again == fingerprint


def test_what_is_absent_is_zero_for_the_network(raw: Path, tmp_path: Path) -> None:
    assert main(["plan_and_preprocess", str(raw), "--planner", "tiny", "--workspace", str(tmp_path / "w")]) == 0
    files = Workspace(tmp_path / "w").dataset_folder(raw.name)
    store = CaseStore(files.prepared(files.read_plan().default))
    for key, channels in AVAILABLE.items():
        image, _ = store.open(key).read_whole()
        assert store.open(key).absent == tuple(sorted({0, 1, 2} - {*channels}))
        assert [bool(channel.any()) for channel in image] == [number in channels for number in range(3)]


def test_a_file_may_not_hold_other_channels_than_the_case_needs(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    write_channels(np.ones((2, *SHAPE), np.float32), GEOMETRY, path)
    for source in (ImageSource(str(path)), ImageSource(str(path), 2)):
        with pytest.raises(DatasetError, match=r"a\.nii\.gz: holds 2 channels, but the case needs"):
            read_case(Case("a", (source,)))


def test_a_case_has_an_image() -> None:
    with pytest.raises(ValueError, match="case a has no image"):
        Case("a", (None, None))


def test_records_of_before_name_files(raw: Path) -> None:
    dataset = replace(read_dataset(raw), cases=(Case.of_files("a", "xyz", "l"), Case.of_files("b", "xyz")))
    value = to_json(dataset)
    for case in value["cases"]:
        case["images"] = [source["file"] for source in case["images"]]
    assert from_json(Dataset, value) == dataset
    value["cases"][0]["images"] = ["whole"]
    found = from_json(Dataset, value).case("a")
    assert found.images == tuple(ImageSource("whole", number) for number in range(3))


def test_nothing_is_copied_where_one_file_holds_all(tmp_path: Path) -> None:
    array = np.stack([voxels("a", channel) for channel in range(2)])
    write_channels(array, GEOMETRY, tmp_path / "a.nii.gz")
    source = str(tmp_path / "a.nii.gz")
    image = read_case(Case("a", (ImageSource(source, 0), ImageSource(source, 1))))
    turned = read_case(Case("a", (ImageSource(source, 1), ImageSource(source, 0))))
    assert isinstance(image, Image)
    np.testing.assert_array_equal(image.array, array)
    np.testing.assert_array_equal(turned.array, array[::-1])
