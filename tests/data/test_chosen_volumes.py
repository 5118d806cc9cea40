"""Channels that are chosen volumes of files: which file is meant in every layout, and in images to be predicted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from autoseg.core.channels import ChannelSource
from autoseg.core.geometry import Geometry
from autoseg.data.dataset import Case, Dataset, ImageSource
from autoseg.data.layouts import find_images, read_dataset
from autoseg.errors import DatasetError
from autoseg.parts.readers import write_channels

GEOMETRY = Geometry.plain((2, 3, 4), (1.0, 1.0, 1.0))
NAMED = {
    "0": {"name": "T2", "file": 0},
    "1": {"name": "b0", "file": 1, "volume": 0},
    "2": {"name": "b1400", "file": 1, "volume": 2},
}
SOURCES = (ChannelSource(0), ChannelSource(1, 0), ChannelSource(1, 2))


def written(*paths: Path, volumes: int = 1) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_channels(np.zeros((volumes, *GEOMETRY.shape), np.float32), GEOMETRY, path)


def read(folder: Path, **fields: object) -> Dataset:
    described = {"channel_names": NAMED, "labels": {"background": 0, "lesion": 1}}
    (folder / "dataset.json").write_text(json.dumps(described | fields))
    return read_dataset(folder)


def places(case: Case) -> list[tuple[str, int | None] | None]:
    return [source and (Path(source.file).name, source.channel) for source in case.images]


def test_files_of_a_case_are_meant_by_their_numbers(tmp_path: Path) -> None:
    images = tmp_path / "imagesTr"
    written(images / "a_0000.nii.gz", images / "a_0002.nii.gz", tmp_path / "labelsTr" / "a.nii.gz")
    written(images / "a_0001.nii.gz", volumes=3)
    dataset = read(tmp_path)
    assert dataset.channels == ("T2", "b0", "b1400") and dataset.channel_sources == SOURCES
    assert places(dataset.case("a")) == [("a_0000.nii.gz", None), ("a_0001.nii.gz", 0), ("a_0001.nii.gz", 2)]
    (images / "a_0000.nii.gz").unlink()
    assert places(read(tmp_path).case("a"))[0] is None
    (images / "a_0001.nii.gz").unlink()
    with pytest.raises(DatasetError, match="case a: there is none of the files a_0000, a_0001"):
        read(tmp_path)


def test_files_of_a_list_are_meant_by_their_places(tmp_path: Path) -> None:
    written(tmp_path / "t2.nii.gz", tmp_path / "drawn.nii.gz")
    written(tmp_path / "dwi.nii.gz", volumes=4)
    both = {"a": {"images": ["t2.nii.gz", "dwi.nii.gz"], "label": "drawn.nii.gz"}}
    assert places(read(tmp_path, dataset=both).case("a")) == [
        ("t2.nii.gz", None), ("dwi.nii.gz", 0), ("dwi.nii.gz", 2),
    ]  # fmt: skip
    one = {"a": {"images": [None, "dwi.nii.gz"], "label": "drawn.nii.gz"}}
    assert places(read(tmp_path, dataset=one).case("a")) == [None, ("dwi.nii.gz", 0), ("dwi.nii.gz", 2)]
    with pytest.raises(DatasetError, match=r"must be .*images"):
        read(tmp_path, dataset={"a": {"images": [None, "dwi.nii.gz", "t2.nii.gz"], "label": "drawn.nii.gz"}})


def test_one_file_of_a_decathlon_is_file_0(tmp_path: Path) -> None:
    written(tmp_path / "imagesTr" / "a.nii.gz", volumes=5)
    written(tmp_path / "labelsTr" / "a.nii.gz")
    named = {"0": {"name": "late", "file": 0, "volume": 4}, "1": {"name": "early", "file": 0, "volume": 1}}
    listed = [{"image": "imagesTr/a.nii.gz", "label": "labelsTr/a.nii.gz"}]
    dataset = read(tmp_path, channel_names=named, training=listed)
    assert dataset.layout == "msd" and places(dataset.case("a")) == [("a.nii.gz", 4), ("a.nii.gz", 1)]


def test_the_same_volumes_are_taken_of_images_to_be_predicted(tmp_path: Path) -> None:
    written(*(tmp_path / f"{key}_0000.nii.gz" for key in ("a", "b_0001")), tmp_path / "a_0002.nii.gz")
    written(*(tmp_path / f"{key}_0001.nii.gz" for key in ("a", "b_0001")), volumes=3)
    cases, wrong = find_images(tmp_path, 3, sources=SOURCES)
    assert wrong == {} and [case.key for case in cases] == ["a", "b_0001"]
    first, second = (str(tmp_path / f"a_000{number}.nii.gz") for number in range(2))
    assert cases[0].images == (ImageSource(first), ImageSource(second, 0), ImageSource(second, 2))


def test_a_case_in_one_file_and_one_beside_others(tmp_path: Path) -> None:
    written(tmp_path / "a.nii.gz", volumes=3)
    written(tmp_path / "b.nii.gz", volumes=2)
    cases, wrong = find_images(tmp_path, 2, sources=(ChannelSource(0, 2), ChannelSource(0, 0)))
    assert [places(case) for case in cases] == [[("a.nii.gz", 2), ("a.nii.gz", 0)]]
    assert wrong == {"b": "the model takes volume 2, counted from 0, of b.nii.gz, which holds 2 volumes"}


def test_what_is_taken_tells_cases_of_the_same_files_apart() -> None:
    def case(*images: ImageSource | None) -> Case:
        return Case("a", images)

    x, first, second, y = ImageSource("x"), ImageSource("x", 0), ImageSource("x", 1), ImageSource("y")
    in_order = [case(x), case(first, second), case(x, y), case(first, second, y)]
    assert [each.picked for each in in_order] == [""] * 4
    others = [case(second, first), case(first, ImageSource("x", 2)), case(x, None), case(None, x), case(second)]
    assert len({each.picked for each in others} | {""}) == 6


def test_a_file_may_be_missing_where_the_model_does_without_its_channels(tmp_path: Path) -> None:
    written(tmp_path / "a_0000.nii.gz", *(tmp_path / f"b_000{number}.nii.gz" for number in (0, 2)))
    written(tmp_path / "c_0001.nii.gz", tmp_path / "b_0001.nii.gz", volumes=3)
    written(tmp_path / "d.nii.gz")
    cases, wrong = find_images(tmp_path, 3, lambda absent: "lacks T2" if 0 in absent else None, sources=SOURCES)
    dwi = ("b_0001.nii.gz", 0), ("b_0001.nii.gz", 2)
    assert {case.key: places(case) for case in cases} == {
        "a": [("a_0000.nii.gz", None), None, None], "b": [("b_0000.nii.gz", None), *dwi],
    }  # fmt: skip
    assert wrong == {"c": "lacks T2", "d": "d_0001 is missing: the model takes channels from 2 files"}
    with pytest.raises(DatasetError, match="a_0001 is missing: the model takes channels from 2 files"):
        find_images(tmp_path / "a_0000.nii.gz", 3, lambda absent: "lacks something", sources=SOURCES)
