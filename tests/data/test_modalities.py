"""Which one channel a case has: by the number in the file's name, by dataset.json, or by a table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoseg.core.geometry import Geometry
from autoseg.core.missing import MissingChannels
from autoseg.data.dataset import Dataset
from autoseg.data.layouts import find_images, read_dataset
from autoseg.data.modalities import with_modalities
from autoseg.errors import AutosegError, DatasetError, UsageError
from autoseg.inspection.check import check_headers
from autoseg.parts.readers import write_channels

SHAPE, CHANNELS = (2, 3, 4), ("CT", "MR", "PET")
ONE_OF = MissingChannels(dict.fromkeys(CHANNELS, 0.0), exclusive=True)
GIVEN = {"a": "CT", "b": "MR", "c": "MR", "d": "PET"}


def write(path: Path, channels: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_channels(np.ones((channels, *SHAPE), np.float32), Geometry.plain(SHAPE, (1.0, 1.0, 1.0)), path)


def raw(folder: Path, name: str, **more: Any) -> Path:
    """Four cases; ``name`` is that of an image file, with KEY and NUMBER in it."""
    for key, modality in GIVEN.items():
        write(folder / name.replace("KEY", key).replace("NUMBER", f"{CHANNELS.index(modality):04d}"))
        write(folder / "labelsTr" / f"{key}.nii.gz")
    described = {"channel_names": dict(zip("012", CHANNELS)), "labels": {"background": 0, "organ": 1}, **more}
    (folder / "dataset.json").write_text(json.dumps({"file_ending": ".nii.gz"} | described))
    return folder


def said(dataset: Dataset) -> dict[str, str]:
    found = {}
    for case in dataset.cases:
        ((number, source),) = ((number, source) for number, source in enumerate(case.images) if source)
        assert source.channel is None and len(case.images) == len(dataset.channels)
        found[case.key] = dataset.channels[number]
    return found


def test_three_ways_to_say_it_mean_the_same(tmp_path: Path) -> None:
    by_name = read_dataset(raw(tmp_path / "by_name", "imagesTr/KEY_NUMBER.nii.gz"))
    listed = {
        key: {"images": [f"scans/{key}.nii.gz"], "label": f"labelsTr/{key}.nii.gz", "modality": modality}
        for key, modality in GIVEN.items()
    }
    listed["b"]["modality"], listed["d"]["modality"] = "mr", "2"  # type: ignore[assignment]
    by_entry = read_dataset(raw(tmp_path / "by_entry", "scans/KEY.nii.gz", dataset=listed))
    unsaid = read_dataset(raw(tmp_path / "by_table", "imagesTr/KEY.nii.gz"))
    first = read_dataset(raw(tmp_path / "first", "imagesTr/KEY_0000.nii.gz"))
    found = [by_name, by_entry, *(with_modalities(each, GIVEN, "--modality-file") for each in (unsaid, first))]
    for dataset in found:
        assert said(dataset) == GIVEN and dataset.unpaired
        assert check_headers(dataset, 1) == [], "nobody lacks anything"
    (problem, *_) = check_headers(unsaid, 1)
    assert "--modality-file" in problem.cure


def test_the_decathlons_list_may_say_it_too(tmp_path: Path) -> None:
    training = [
        {"image": f"imagesTr/{key}.nii.gz", "label": f"labelsTr/{key}.nii.gz", "modality": modality}
        for key, modality in GIVEN.items()
    ]
    folder = raw(tmp_path, "imagesTr/KEY.nii.gz", training=training)
    described = json.loads((folder / "dataset.json").read_text())
    del described["file_ending"]
    (folder / "dataset.json").write_text(json.dumps(described))
    assert said(read_dataset(folder)) == GIVEN


def test_plain_folders_get_the_channels_that_the_table_names(tmp_path: Path) -> None:
    for key in GIVEN:
        write(tmp_path / "images" / f"{key}.nii.gz")
        write(tmp_path / "labels" / f"{key}.nii.gz")
    found = with_modalities(_labelled(tmp_path), GIVEN, "--modality-file")
    assert found.channels == CHANNELS and said(found) == GIVEN


def _labelled(folder: Path) -> Dataset:
    array = np.arange(np.prod(SHAPE)).reshape(1, *SHAPE) % 2
    for path in (folder / "labels").iterdir():
        write_channels(array.astype(np.float32), Geometry.plain(SHAPE, (1.0, 1.0, 1.0)), path)
    return read_dataset(folder)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"modality": "SPECT"}, "there is no channel 'SPECT'"),
        ({"modality": 7}, "there is no channel '7'"),
        ({"modality": ["CT"]}, "must be the name of a channel"),
        ({"modality": True}, "must be the name of a channel"),
        ({"images": ["a.nii.gz", "b.nii.gz"]}, "has one image, found"),
        ({"images": [None]}, "has one image, found"),
        ({"images": "a.nii.gz"}, "has one image, found"),
    ],
)
def test_an_entry_that_makes_no_sense_is_named(tmp_path: Path, entry: dict[str, Any], message: str) -> None:
    whole = {"images": ["scans/a.nii.gz"], "label": "labelsTr/a.nii.gz", "modality": "CT"} | entry
    folder = raw(tmp_path, "scans/KEY.nii.gz", dataset={"a": whole})
    with pytest.raises(DatasetError, match=f"case a: .*{message}"):
        read_dataset(folder)


def test_a_table_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    dataset = read_dataset(raw(tmp_path, "imagesTr/KEY.nii.gz"))
    with pytest.raises(UsageError, match="--modality-file: there is no channel 'US'; name one of CT"):
        with_modalities(dataset, GIVEN | {"c": "US"}, "--modality-file")
    for number in range(3):
        write(tmp_path / "imagesTr" / f"b_{number:04d}.nii.gz")
    (tmp_path / "imagesTr" / "b.nii.gz").unlink()
    with pytest.raises(
        DatasetError, match=r"(?s)--modality-file: a case that has a modality has one image file.*case b: 3 files"
    ):
        with_modalities(read_dataset(tmp_path), GIVEN, "--modality-file")


def test_one_channel_that_some_cases_lack_and_a_channel_that_none_has_are_no_modalities(tmp_path: Path) -> None:
    folder = raw(tmp_path, "imagesTr/KEY_0000.nii.gz")
    assert not read_dataset(folder).unpaired, "nobody has MR"
    write(folder / "imagesTr" / "a_0001.nii.gz")
    write(folder / "imagesTr" / "a_0002.nii.gz")
    assert not read_dataset(folder).unpaired, "a has all"


def found(folder: Path) -> tuple[dict[str, tuple[int, ...] | None], dict[str, str]]:
    """Case to the channel that it is; None where nobody said it."""
    cases, refused = find_images(
        folder, len(CHANNELS), lambda absent: ONE_OF.problem_without(CHANNELS, absent), exclusive=True
    )
    return {
        case.key: None if len(case.images) == 1 else tuple(n for n, source in enumerate(case.images) if source)
        for case in cases
    }, refused


def test_numbers_say_which_modality_is_to_be_predicted_and_without_one_it_is_open(tmp_path: Path) -> None:
    for name in ("a", "b_0000", "c_0002", "scan_0123", "d_0001"):
        write(tmp_path / f"{name}.nii.gz")
    assert found(tmp_path) == ({"a": None, "b": (0,), "c": (2,), "d": (1,), "scan_0123": None}, {})


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"a_0000": 1, "a_0001": 1}, "has CT, MR, but the model takes one of them"),
        ({"a_0000": 1, "a_0001": 1, "a_0002": 1}, "has CT, MR, PET, but the model takes one of them"),
        ({"a": 3}, "has CT, MR, PET, but the model takes one of them"),
        ({"a": 2}, "the model needs 3 channels"),
        ({"a": 1, "a_0001": 1}, "stands beside"),
    ],
)
def test_several_modalities_of_a_case_are_refused(tmp_path: Path, names: dict[str, int], message: str) -> None:
    for name, channels in names.items():
        write(tmp_path / f"{name}.nii.gz", channels)
    with pytest.raises(AutosegError, match=message):
        found(tmp_path)
    write(tmp_path / "z.nii.gz")
    there, refused = found(tmp_path)
    assert there["z"] is None and message in str(refused)
