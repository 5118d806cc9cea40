"""Labels are read from the files of a case and written to such files, masks with all their overlaps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoseg.core.geometry import Geometry
from autoseg.core.labels import ExclusiveLabels
from autoseg.core.masks import MaskLabels
from autoseg.data.label_maps import file_names, files_in, read_label_map, write_label_map
from autoseg.errors import DatasetError, ImageFileError
from autoseg.parts.readers import read_header, read_image, write_channels, write_labels

GEOMETRY = Geometry.plain((3, 4, 5), (3.0, 1.0, 2.0))
LABELS = MaskLabels(("lung", "heart", "clavicle"))
CHANNELS = MaskLabels(LABELS.masks, in_channels=True)


def some_map(seed: int, labels: MaskLabels = LABELS) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, len(labels.values), GEOMETRY.shape).astype(labels.dtype)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(
    st.integers(1, 16),
    st.sampled_from([".nii.gz", ".nii", ".mha", ".nrrd"]),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_what_is_written_is_read(tmp_path: Path, count: int, ending: str, in_channels: bool, seed: int) -> None:
    labels = MaskLabels(tuple(f"m{number}" for number in range(count)), in_channels)
    whole = some_map(seed, labels)
    files = files_in(tmp_path, "case", ending, labels)
    write_label_map(whole, GEOMETRY, files, labels)
    found, geometry = read_label_map(files, labels)
    np.testing.assert_array_equal(found, whole)
    assert found.dtype == labels.dtype and geometry.shape == GEOMETRY.shape
    np.testing.assert_allclose(geometry.spacing, GEOMETRY.spacing)


def test_names_of_files() -> None:
    assert file_names("a", ".nii.gz", LABELS) == ("a_lung.nii.gz", "a_heart.nii.gz", "a_clavicle.nii.gz")
    assert file_names("a", ".mha", CHANNELS) == ("a.mha",)
    assert file_names("a", ".png", ExclusiveLabels({"background": 0, "b": 1})) == ("a.png",)


def test_each_file_holds_its_mask_in_the_order_of_the_names(tmp_path: Path) -> None:
    whole = some_map(0)
    write_label_map(whole, GEOMETRY, files_in(tmp_path, "a", ".nii.gz", LABELS), LABELS)
    for bit, name in enumerate(LABELS.masks):
        np.testing.assert_array_equal(read_image([tmp_path / f"a_{name}.nii.gz"]).array[0], whole >> bit & 1)
    write_label_map(whole, GEOMETRY, (tmp_path / "a.nii.gz",), CHANNELS)
    assert read_header(tmp_path / "a.nii.gz").channels == 3
    np.testing.assert_array_equal(read_image([tmp_path / "a.nii.gz"]).array[1], whole >> 1 & 1)


def test_pictures_show_a_mask_as_255_and_may_hold_1(tmp_path: Path) -> None:
    whole = np.random.default_rng(0).integers(0, 4, (1, 4, 5)).astype(np.uint8)
    labels, flat = MaskLabels(("a", "b")), Geometry.plain_2d((4, 5))
    files = files_in(tmp_path, "x", ".png", labels)
    write_label_map(whole, flat, files, labels)
    for bit, path in enumerate(files):
        np.testing.assert_array_equal(read_image([path]).array[0], 255 * (whole >> bit & 1))
    np.testing.assert_array_equal(read_label_map(files, labels)[0], whole)
    for mask, path in zip(labels.split(whole), files):
        write_labels(mask, flat, path)
    np.testing.assert_array_equal(read_label_map(files, labels)[0], whole)


@pytest.mark.parametrize("values", [[0, 3], [0, 1, 2], [1, 255], [-1, 0], [2]])
def test_other_values_are_no_mask(tmp_path: Path, values: list[int]) -> None:
    array = np.resize(np.array(values), GEOMETRY.shape)
    for labels in (MaskLabels(("a",)), MaskLabels(("a",), in_channels=True)):
        (path,) = files_in(tmp_path, "x", ".nii.gz", labels)
        write_labels(array, GEOMETRY, path)
        said = f"{path}.*holds 0 and 1, or 0 and 255, but this one holds {', '.join(map(str, sorted(values)))}$"
        with pytest.raises(ImageFileError, match=said):
            read_label_map((path,), labels)


def test_a_wrong_channel_is_named(tmp_path: Path) -> None:
    array = np.zeros((3, *GEOMETRY.shape), np.float32)
    array[1, 0, 0, 0] = 3
    write_channels(array, GEOMETRY, tmp_path / "a.nii.gz")
    with pytest.raises(ImageFileError, match=r"a.nii.gz: channel 1 \(heart\): a mask holds"):
        read_label_map((tmp_path / "a.nii.gz",), CHANNELS)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_another_number_of_channels_is_refused(tmp_path: Path, channels: int) -> None:
    write_channels(np.zeros((channels, *GEOMETRY.shape), np.uint8), GEOMETRY, tmp_path / "a.nii.gz")
    with pytest.raises(ImageFileError, match=f"{channels} channels, but there are 3 masks: lung, heart, clavicle"):
        read_label_map((tmp_path / "a.nii.gz",), CHANNELS)


def test_masks_on_different_grids_are_refused(tmp_path: Path) -> None:
    files = files_in(tmp_path, "a", ".nii.gz", LABELS)
    write_label_map(some_map(0), GEOMETRY, files, LABELS)
    other = Geometry.plain(GEOMETRY.shape, (3.0, 1.0, 2.5))
    write_labels(np.zeros(GEOMETRY.shape, np.uint8), other, files[2])
    with pytest.raises(DatasetError, match=r"a_clavicle.nii.gz: not on the grid of .*a_lung.nii.gz"):
        read_label_map(files, LABELS)


def test_a_mask_without_a_file_is_empty_only_where_the_dataset_says_so(tmp_path: Path) -> None:
    files = files_in(tmp_path, "a", ".nii.gz", LABELS)
    whole = some_map(0)
    write_label_map(whole, GEOMETRY, files, LABELS)
    some = (files[0], None, files[2])
    with pytest.raises(DatasetError, match="the mask 'heart' has no file"):
        read_label_map(some, LABELS)
    empty = MaskLabels(LABELS.masks, absent_are_empty=True)
    np.testing.assert_array_equal(read_label_map(some, empty)[0], whole & 0b101)
    nothing, geometry = read_label_map((None, None, None), empty, GEOMETRY)
    assert not nothing.any() and nothing.shape == GEOMETRY.shape and geometry == GEOMETRY
    with pytest.raises(DatasetError, match="their grid is not known"):
        read_label_map((None, None, None), empty)


def test_a_label_map_is_read_and_written_as_ever(tmp_path: Path) -> None:
    labels = ExclusiveLabels({"background": 0, "a": 300})
    array = np.resize([0, 300], GEOMETRY.shape)
    write_label_map(array, GEOMETRY, (tmp_path / "a.nii.gz",), labels)
    np.testing.assert_array_equal(read_label_map((tmp_path / "a.nii.gz",), labels)[0], array)
