"""A number in a file name is a channel: whatever files there are, none is taken for another channel without a word."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoseg.core.geometry import Geometry
from autoseg.data.layouts import find_images, read_dataset
from autoseg.errors import DatasetError
from autoseg.inspection.check import check_headers
from autoseg.parts.readers import write_channels, write_labels

SHAPE = (2, 3, 4)
GEOMETRY = Geometry.plain(SHAPE, (1.0, 1.0, 1.0))


def image(path: Path, channels: int = 1) -> None:
    write_channels(np.ones((channels, *SHAPE), np.float32), GEOMETRY, path)


def label(path: Path, value: int = 1) -> None:
    write_labels(np.full(SHAPE, value, np.uint8), GEOMETRY, path)


def images(folder: Path, *names: str) -> Path:
    """Files of one channel; with ``*3`` behind the name, of three."""
    for name in names:
        name, _, channels = name.partition("*")
        image(folder / (name if name.endswith((".nii", ".nrrd")) else f"{name}.nii.gz"), int(channels or 1))
    return folder


def refused(folder: Path, channels: int) -> str:
    with pytest.raises(DatasetError) as caught:
        find_images(folder, channels)
    assert len(str(caught.value)) < 2000
    return str(caught.value)


@pytest.mark.parametrize(
    ("names", "channels", "said"),
    [
        (["a_0000", "a_0001", "a_0003"], 3, "a_0002 is missing|_0002 is missing"),
        (["a_0000", "a_0001", "a_0003"], 3, "_0003 is beyond the last channel, _0002"),
        (["a_0001", "a_0002"], 2, "a_0000 is missing"),
        (["a_0000", "a_0002"], 2, "_0001 is missing"),
        (["a_0000"], 3, "a_0001, a_0002 are missing"),
        (["a_0000", "a_0001", "a_0002"], 2, "_0002 is beyond the last channel, _0001"),
        (["a_0000", "a_0000.nrrd"], 2, "a_0000 is given twice"),
        (["a", "a_0001"], 2, r"found a_0001\.nii\.gz beside a\.nii\.gz; a_0000 is missing"),
        (["a", "a_0000"], 2, r"a\.nii\.gz stands beside a_0000\.nii\.gz"),
        (["a", "a_0000"], 1, r"a\.nii\.gz stands beside a_0000\.nii\.gz"),
        (["a_0000", "a_0001"], 1, "If each is|if each is a case of its own, give it a name without _NUMBER at the end"),
        (["a_0000*3", "a_0001*3"], 3, r"say a-0001\.nii\.gz"),
        (["a_0001", "b_0001"], 1, "a_0000 is missing"),
        (["a_0000", "b_0001"], 2, "b_0000 is missing"),
    ],
)
def test_files_that_are_no_whole_case_are_refused(tmp_path: Path, names: list[str], channels: int, said: str) -> None:
    assert re.search(said, refused(images(tmp_path, *names), channels))


@pytest.mark.parametrize(
    ("names", "channels", "keys"),
    [
        (["a_0000", "a_0001", "b_0000", "b_0001"], 2, ["a", "b"]),
        (["a_0000*2", "b*2"], 2, ["a", "b"]),
        (["a_0000*2", "a_0001"], 3, ["a"]),
        (["a_0001*3", "a_0002*3"], 3, ["a_0001", "a_0002"]),
        (["a_0001", "a_0002"], 1, ["a_0001", "a_0002"]),
        (["p_0001_0000", "p_0002_0000"], 1, ["p_0001", "p_0002"]),
        (["p-0000", "p-0001"], 1, ["p-0000", "p-0001"]),
    ],
)
def test_whole_cases_are_taken(tmp_path: Path, names: list[str], channels: int, keys: list[str]) -> None:
    cases, refused = find_images(images(tmp_path, *names), channels)
    assert [case.key for case in cases] == keys and not refused


def test_the_name_that_is_proposed_for_numbered_cases_works(tmp_path: Path) -> None:
    refused(images(tmp_path, "scan_0000", "scan_0001"), 1)
    for number in ("0000", "0001"):
        (tmp_path / f"scan_{number}.nii.gz").rename(tmp_path / f"scan-{number}.nii.gz")
    assert [case.key for case in find_images(tmp_path, 1)[0]] == ["scan-0000", "scan-0001"]


def test_a_number_that_may_be_a_channel_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    find_images(images(tmp_path, "a_0001"), 1)
    assert "taken for a case of this name; a channel of a needs a_0000" in caplog.text


@given(
    st.sets(
        st.tuples(st.sampled_from(["a", "b", "a_0000"]), st.sampled_from(["", "_0000", "_0001", "_0002", "_0003"])),
        min_size=1,
        max_size=6,
    ),
    st.integers(1, 3),
)
@settings(max_examples=150)
def test_no_file_is_ever_another_channel_than_its_name_says(
    tmp_path_factory: pytest.TempPathFactory, files: set[tuple[str, str]], channels: int
) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzz"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    template = tmp_path_factory.getbasetemp() / "one.nii.gz"
    if not template.exists():
        image(template)
    for name in {key + number for key, number in files}:
        os.link(template, folder / f"{name}.nii.gz")
    try:
        cases, refused = find_images(folder, channels)
    except DatasetError as error:
        assert len(str(error)) < 2000
        return
    taken = [path for case in cases for path in case.image_files]
    assert refused or sorted(taken) == sorted(folder.iterdir())
    for case in cases:
        assert len(case.image_files) == channels
        if channels > 1:
            assert [path.name for path in case.image_files] == [
                f"{case.key}_{number:04d}.nii.gz" for number in range(channels)
            ]


def test_a_file_that_cannot_be_read_is_left_to_prediction(tmp_path: Path) -> None:
    images(tmp_path, "a_0000", "a_0001", "b_0000", "b_0001", "c")
    for name in ("b_0001", "c"):
        (tmp_path / f"{name}.nii.gz").write_bytes(b"nothing")
    assert [case.key for case in find_images(tmp_path, 2)[0]] == ["a", "b", "c"]


@pytest.mark.parametrize("name", ["a:b", " a", "con", "x" * 160, "a\nb", "a\u202eb"])
def test_a_name_that_cannot_be_written_everywhere_is_refused_with_its_file(tmp_path: Path, name: str) -> None:
    images(tmp_path, "fine", name)
    cases, wrong = find_images(tmp_path, 1)
    assert [case.key for case in cases] == ["fine"]
    assert list(wrong) == [name] and "needs another name" in wrong[name]
    (tmp_path / "fine.nii.gz").unlink()
    assert "needs another name" in refused(tmp_path, 1)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["a.dcm", "b.DCM"], r"2 ending \.dcm.*autoseg convert dicom"),
        (["a.hdr", "a.img"], r"1 ending \.hdr, 1 ending \.img.*convert them to \.nii\.gz"),
        (["a.npy"], r"1 ending \.npy.*spacing"),
        (["a.nii.gz.part", "b.nii.gz.part"], r"2 ending \.part.*have not finished"),
        (["a", "b"], "2 without an ending"),
        (["x/"], "1 folder$"),
        ([], "found nothing"),
    ],
)
def test_what_is_there_instead_of_images_is_said(tmp_path: Path, files: list[str], said: str) -> None:
    for place in ("in", "raw/imagesTr"):
        (tmp_path / place).mkdir(parents=True)
        for name in files:
            (tmp_path / place / name).mkdir() if name.endswith("/") else (tmp_path / place / name).write_bytes(b"x")
    described = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "a": 1}, "file_ending": ".nii.gz"}
    (tmp_path / "raw/dataset.json").write_text(json.dumps(described))
    (tmp_path / "raw/labelsTr").mkdir()
    for read in (lambda: find_images(tmp_path / "in", 1), lambda: read_dataset(tmp_path / "raw")):
        with pytest.raises(DatasetError, match=said):
            read()


def test_dicom_without_an_ending_is_recognised_and_pipes_do_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "0000")
    (tmp_path / "1.2.840.113").write_bytes(bytes(128) + b"DICM" + bytes(10))
    assert "autoseg convert dicom" in refused(tmp_path, 1)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Three channels, two cases."""
    folder = tmp_path / "Dataset007_Thing"
    images(folder / "imagesTr", *(f"{key}_000{number}" for key in "ab" for number in range(3)))
    for key in "ab":
        label(folder / f"labelsTr/{key}.nii.gz")
    described = {"channel_names": {"0": "T1", "1": "T2", "2": "FLAIR"}, "labels": {"background": 0, "a": 1}}
    (folder / "dataset.json").write_text(json.dumps(described))
    return folder


def problems(folder: Path) -> list[tuple[str, str, str]]:
    return [(problem.case, problem.severity, problem.what) for problem in check_headers(read_dataset(folder), 1)]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("a_0002", "a_0003", "_0002 is missing and _0003 is beyond the last channel, _0002"),
        ("a_0000", "a_0005", "_0000 is missing and _0005 is beyond"),
        ("a_0000", "a", r"a.nii.gz stands beside a_0001.nii.gz, a_0002.nii.gz"),
    ],
)
def test_a_gap_in_training_names_the_file(raw: Path, before: str, after: str, said: str) -> None:
    assert problems(raw) == []
    (raw / f"imagesTr/{before}.nii.gz").rename(raw / f"imagesTr/{after}.nii.gz")
    ((case, severity, what),) = problems(raw)
    assert (case, severity) == ("a", "error") and said in what


def test_one_channel_with_two_endings_is_refused(raw: Path) -> None:
    image(raw / "imagesTr/a_0001.nrrd")
    with pytest.raises(DatasetError, match=r"case a: several files of one name.*keep one"):
        read_dataset(raw)


def test_channels_beyond_those_of_the_dataset_are_named(raw: Path) -> None:
    image(raw / "imagesTr/b_0003.nii.gz")
    ((case, severity, what),) = problems(raw)
    assert (case, severity) == ("b", "error") and "_0003 is beyond the last channel, _0002" in what


def listing(folder: Path, **cases: list[str]) -> None:
    described = json.loads((folder / "dataset.json").read_text())
    described["dataset"] = {
        key: {"images": [f"imagesTr/{name}.nii.gz" for name in names], "label": f"labelsTr/{key[0]}.nii.gz"}
        for key, names in cases.items()
    }
    (folder / "dataset.json").write_text(json.dumps(described))


def test_a_list_decides_but_names_that_say_otherwise_are_noted(raw: Path) -> None:
    listing(raw, a=["a_0000", "a_0001", "a_0002"], b=["b_0000", "b_0001", "b_0002"])
    assert problems(raw) == []
    listing(raw, a=["a_0000", "a_0001", "a_0002"], b=["b_0001", "b_0000", "b_0002"])
    (found,) = problems(raw)
    assert found[:2] == ("b", "note") and "lists _0001, _0000, _0002" in found[2]
    listing(raw, a=["a_0001", "a_0000", "a_0002"], b=["b_0001", "b_0000", "b_0002"])
    (found,) = problems(raw)
    assert found[:2] == ("all cases", "note") and "_0001, _0000, _0002" in found[2]


def test_one_label_map_for_two_cases_is_noted(raw: Path) -> None:
    listing(raw, a=["a_0000", "a_0001", "a_0002"], a2=["b_0000", "b_0001", "b_0002"])
    assert [found[:2] for found in problems(raw)] == [("a2", "note")]


def test_names_that_differ_in_case_only_are_noted(raw: Path) -> None:
    listing(raw, a=["a_0000", "a_0001", "a_0002"], A=["b_0000", "b_0001", "b_0002"])
    described = json.loads((raw / "dataset.json").read_text())
    described["dataset"]["A"]["label"] = "labelsTr/b.nii.gz"
    (raw / "dataset.json").write_text(json.dumps(described))
    assert any("upper and lower case" in what for _, _, what in problems(raw))


WRONG = [
    None,
    5,
    True,
    [],
    {},
    "",
    "  ",
    [[]],
    ["", "x"],
    [5],
    "nowhere.nii.gz",
    "imagesTr",
    "a\0b",
    "x" * 5000,
    {"a": 1},
]


@pytest.mark.slow
@pytest.mark.parametrize("value", WRONG, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("place", ["dataset", "entry", "images", "image", "label", "training", "pair", "ending"])
def test_entries_of_any_kind_get_a_sentence(raw: Path, place: str, value: object) -> None:
    entry = {"images": [f"imagesTr/a_000{number}.nii.gz" for number in range(3)], "label": "labelsTr/a.nii.gz"}
    described = json.loads((raw / "dataset.json").read_text())
    described |= {
        "dataset": {"dataset": value},
        "entry": {"dataset": {"a": entry, "b": value}},
        "images": {"dataset": {"a": entry | {"images": value}}},
        "image": {"dataset": {"a": entry | {"images": [value, *entry["images"][1:]]}}},
        "label": {"dataset": {"a": entry | {"label": value}}},
        "training": {"training": [value]},
        "pair": {"training": [{"image": value, "label": "labelsTr/a.nii.gz"}]},
        "ending": {"file_ending": value},
    }[place]
    (raw / "dataset.json").write_text(json.dumps(described))
    if place == "ending" and value in (None, ""):
        read_dataset(raw)
        return
    if place == "image" and value is None:  # which says that the case lacks this channel
        assert read_dataset(raw).case("a").absent == (0,)
        return
    with pytest.raises(DatasetError) as caught:
        read_dataset(raw)
    assert len(str(caught.value)) < 2000


def test_folders_pipes_and_broken_links_in_a_list_are_named(raw: Path) -> None:
    (raw / "folder.nii.gz").mkdir()
    os.mkfifo(raw / "pipe.nii.gz")
    (raw / "link.nii.gz").symlink_to(raw / "gone.nii.gz")
    names = ["folder", "pipe", "link"]
    described = json.loads((raw / "dataset.json").read_text())
    described["dataset"] = {"a": {"images": [f"{name}.nii.gz" for name in names], "label": "labelsTr/a.nii.gz"}}
    (raw / "dataset.json").write_text(json.dumps(described))
    with pytest.raises(DatasetError) as caught:
        read_dataset(raw)
    for words in ("is a folder, not a file", "is no file but a pipe", "is a link to "):
        assert words in str(caught.value)


def test_folders_pipes_and_broken_links_among_the_images_are_problems_of_their_cases(raw: Path) -> None:
    for number in range(3):
        (raw / f"imagesTr/a_000{number}.nii.gz").unlink()
    (raw / "imagesTr/a_0000.nii.gz").mkdir()
    os.mkfifo(raw / "imagesTr/a_0001.nii.gz")
    (raw / "imagesTr/a_0002.nii.gz").symlink_to(raw / "gone.nii.gz")
    found = problems(raw)
    assert [each[:2] for each in found] == [("a", "error")] * 3
    for words, (_, _, what) in zip(("is a folder", "pipe", "link"), found):
        assert words in what


def test_a_case_that_the_decathlon_s_list_names_twice_is_refused(raw: Path) -> None:
    described = json.loads((raw / "dataset.json").read_text())
    described["training"] = [{"image": f"imagesTr/{key}_0000.nii.gz", "label": "labelsTr/a.nii.gz"} for key in "ab"]
    (raw / "dataset.json").write_text(json.dumps(described))
    with pytest.raises(DatasetError, match="case a is listed 2 times"):
        read_dataset(raw)


def test_many_mismatches_are_counted_and_the_first_are_named(raw: Path) -> None:
    for number in range(100):
        label(raw / f"labelsTr/case_{number:03d}.nii.gz")
    with pytest.raises(DatasetError) as caught:
        read_dataset(raw)
    assert "do not match (100)" in str(caught.value) and "... and 80 more" in str(caught.value)
    assert "case_019" in str(caught.value) and "case_020" not in str(caught.value)


def test_a_label_without_an_image_names_a_file_that_may_have_been_meant(raw: Path) -> None:
    label(raw / "labelsTr/c.nii.gz")
    (raw / "imagesTr/c_0000.nii.gz.part").touch()
    with pytest.raises(DatasetError, match=r"c\.nii\.gz has no image beside it \(c_0000\.nii\.gz\.part is not read\)"):
        read_dataset(raw)


def test_label_maps_that_cannot_be_read_are_left_to_the_check(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images(tmp_path / "images", "a", "b", "c")
    for key in "abc":
        label(tmp_path / f"labels/{key}.nii.gz", 1 + (key == "c"))
    for path in (tmp_path / "labels/a.nii.gz", tmp_path / "images/b.nii.gz", tmp_path / "images/a.nii.gz"):
        path.write_bytes(b"broken")
    with caplog.at_level(logging.INFO):
        dataset = read_dataset(tmp_path)
    assert dataset.labels.values == (1, 2) and len(dataset.channels) == 1
    found = [(problem.case, problem.file) for problem in check_headers(dataset, 1)]
    assert found == [("a", "a.nii.gz"), ("a", "a.nii.gz"), ("b", "b.nii.gz")]


def test_when_no_label_map_can_be_read_this_is_said(tmp_path: Path) -> None:
    images(tmp_path / "images", "a")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.nii.gz").write_bytes(b"broken")
    with pytest.raises(DatasetError, match="no label map can be read"):
        read_dataset(tmp_path)
