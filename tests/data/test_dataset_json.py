"""A dataset.json that cannot be right is refused with a sentence that names what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autoseg.core.channels import ChannelSource
from autoseg.core.labels import ExclusiveLabels, Labels, RegionLabels
from autoseg.core.masks import MaskLabels
from autoseg.data.dataset_json import channel_sources_of, channels_of, described, labels_of, read
from autoseg.errors import DatasetError

WHERE = Path("dataset.json")


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"background": 0, "a": 2}, {"background": 0, "a": 2}),
        ({"a": 1}, {"background": 0, "a": 1}),
        ({"Background": 0, "a": 1}, {"background": 0, "a": 1}),
        ({"0": "nothing", "1": "a"}, {"background": 0, "a": 1}),
        ({"00": "nothing", "01": "a", "-2": "b"}, {"background": 0, "a": 1, "b": -2}),
        ({"background": 0, "a": [3]}, {"background": 0, "a": 3}),
    ],
)
def test_labels_are_understood(labels: dict[str, Any], expected: dict[str, int]) -> None:
    assert labels_of({"labels": labels}, WHERE) == ExclusiveLabels(expected)


def test_so_many_channels_as_no_file_can_be_numbered_are_refused() -> None:
    with pytest.raises(DatasetError, match="10001 channel_names are more than the 10000 that can be used"):
        channels_of({"channel_names": [f"c{number}" for number in range(10_001)]}, WHERE)


def test_ignore_is_no_label() -> None:
    labels = labels_of({"labels": {"background": 0, "a": 1, "ignore": 2}}, WHERE)
    assert labels == ExclusiveLabels({"background": 0, "a": 1}, ignore=2)


def test_a_list_of_values_is_a_region() -> None:
    description = {"labels": {"background": 0, "all": [1, 2], "core": 2}, "regions_class_order": [1, 2]}
    assert labels_of(description, WHERE) == RegionLabels({"all": (1, 2), "core": (2,)}, (1, 2))


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ({}, "give labels"),
        ({"labels": {"background": 0}}, "no label besides"),
        ({"labels": {"background": 0, "a": 1, "b": 1}}, "share the value 1"),
        ({"labels": {"a": 0, "b": 1}}, "name the background"),
        ({"labels": {"background": 0, "a": "1"}}, "whole number"),
        ({"labels": {"background": 0, "a": 1.5}}, "whole number"),
        ({"labels": {"background": 0, "a": True}}, "whole number"),
        ({"labels": {"background": [0, 1], "a": 2}}, "one value"),
        ({"labels": {"background": 0, "a": 1, "ignore": 1}}, "also belongs"),
        ({"labels": {"background": 0, "a": 1, "Ignore": 2, "ignore": 3}}, "two labels are called 'ignore'"),
        ({"labels": {"background": 0, "a\n": 1}}, "cannot be printed"),
        ({"labels": {"0": "background", "\u00b2": "a"}}, "whole number"),
        ({"labels": {"0": "background", "\u0663": "a"}}, "whole number"),
        ({"labels": {"0": "background", "1": "a", "01": "b"}}, "share one value"),
        ({"labels": {"-0": "background", "1": "a"}}, "whole number"),
        ({"labels": {str(n): list(range(1, 1001)) for n in range(201)}}, "201000 values in all"),
        ({"labels": {"background": 0, "a": [1, 2]}, "regions_class_order": [True]}, "regions_class_order"),
        ({"labels": {"0": "background", "1": "a", "2": "a"}}, "same name"),
        ({"labels": {"background": 0, "a": [1, 2]}}, "regions_class_order"),
        ({"labels": {"background": 0, "a": [1, 2]}, "regions_class_order": [1, 2]}, "regions_class_order"),
    ],
)
def test_impossible_labels_are_refused(description: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        labels_of(description, WHERE)


def test_channels_are_ordered_by_number_and_not_by_text() -> None:
    named = {str(number): f"c{number}" for number in reversed(range(12))}
    assert channels_of({"channel_names": named}, WHERE) == tuple(f"c{number}" for number in range(12))
    assert channels_of({"modality": ["CT"]}, WHERE) == ("CT",)


@pytest.mark.parametrize(
    "named",
    [None, {}, {"a": "CT"}, {"1": "CT"}, {"0": "A", "2": "B"}, {"\u0660": "CT"}, {"0": "A", "00": "B"}, {"-0": "CT"}],
)
def test_impossible_channels_are_refused(named: Any) -> None:
    with pytest.raises(DatasetError, match="channel_names"):
        channels_of({"channel_names": named}, WHERE)


def test_channels_may_say_which_volume_of_which_file_they_are() -> None:
    named = {"1": {"name": "b0", "file": 1, "volume": 0}, "0": {"name": "T2", "file": 0}}
    assert channels_of({"channel_names": named}, WHERE) == ("T2", "b0")
    assert channel_sources_of({"channel_names": named}, WHERE) == (ChannelSource(0), ChannelSource(1, 0))
    assert channel_sources_of({"channel_names": {"0": "T2", "1": "b0"}}, WHERE) == ()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"name": "b0", "file": 1, "volumes": 0}, "no 'volumes'"),
        ({"file": 1}, "name of a channel must be text"),
        ({"name": "b0"}, "a channel must be"),
        ({"name": "b0", "file": "1"}, "a channel must be"),
        ({"name": "b0", "file": 1, "volume": True}, "a channel must be"),
        ({"name": "b0", "file": -1}, "file must be at least 0"),
        ({"name": "b0", "file": 0}, "channels 0 and 1 are the same volume"),
        ({"name": "b0", "file": 0, "volume": 1}, "say for both which volume"),
        ("b0", "of all channels, or of none"),
    ],
)
def test_impossible_volumes_are_refused(said: Any, message: str) -> None:
    description = {"channel_names": {"0": {"name": "T2", "file": 0}, "1": said}}
    with pytest.raises(DatasetError, match=message):
        channels_of(description, WHERE)
        channel_sources_of(description, WHERE)


@pytest.mark.parametrize("content", ["{", "[]", '"text"'])
def test_a_file_that_is_no_object_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(DatasetError, match=r"dataset\.json"):
        read(tmp_path / "dataset.json")


@pytest.mark.parametrize(
    "labels",
    [
        ExclusiveLabels({"background": 4, "organ": 7, "lesion": 300}),
        ExclusiveLabels({"background": 0, "organ": 1}, ignore=9),
        RegionLabels({"whole": (1, 2, 3), "core": (3,)}, (1, 3), background=5, ignore=8),
        MaskLabels(("one", "two")),
        MaskLabels(("one", "two"), in_channels=True, absent_are_empty=True),
    ],
)
def test_what_is_described_is_understood(labels: Labels) -> None:
    found = json.loads(json.dumps(described(labels, ("T1", "T2"), ".nii.gz")))
    assert labels_of(found, Path("dataset.json")) == labels
    assert channels_of(found, Path("dataset.json")) == ("T1", "T2")
