"""Any integer values go in; the same values come out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from tasks import decoded

from autoseg.core.labels import ExclusiveLabels, RegionLabels
from autoseg.errors import DatasetError

value_sets = st.lists(st.integers(-1000, 70000), min_size=2, max_size=6, unique=True)


@given(value_sets, st.data())
def test_decoding_the_one_hot_of_an_encoded_map_gives_the_map(values: list[int], data: st.DataObject) -> None:
    labels = ExclusiveLabels({"background": values[0]} | {f"label_{value}": value for value in values[1:]})
    drawn = data.draw(npst.arrays(np.int64, (2, 3, 4), elements=st.sampled_from(values)))
    indices = labels.encode(drawn)
    one_hot = np.stack([indices == head for head in range(labels.heads)]).astype(np.float32)
    np.testing.assert_array_equal(decoded(labels, one_hot), drawn)


def test_indices_are_dense_with_background_first_and_ignore_last() -> None:
    labels = ExclusiveLabels({"background": 0, "b": 420, "a": 205}, ignore=7)
    np.testing.assert_array_equal(labels.encode(np.array([0, 205, 420, 7])), [0, 1, 2, 3])
    assert labels.ignore_index == 3
    assert list(labels.foreground) == ["a", "b"]


def test_an_unnamed_value_is_refused_by_value() -> None:
    with pytest.raises(DatasetError, match="9"):
        ExclusiveLabels({"background": 0, "organ": 1}).encode(np.array([0, 1, 9]))


def test_decoded_maps_use_the_smallest_type() -> None:
    assert ExclusiveLabels({"background": 0, "organ": 255}).written.dtype == np.uint8
    assert ExclusiveLabels({"background": 0, "organ": 256}).written.dtype == np.uint16
    assert ExclusiveLabels({"background": 0, "organ": -1}).written.dtype == np.int8


def test_regions_paint_over_one_another_in_the_given_order() -> None:
    labels = RegionLabels({"whole": (1, 2, 3), "core": (2, 3), "enhancing": (3,)}, class_order=(1, 2, 3))
    logits = np.array([[-1.0, 1, 1, 1, -1], [-1, -1, 1, 1, 1], [-1, -1, -1, 1, -1]])
    np.testing.assert_array_equal(decoded(labels, logits), [0, 1, 2, 3, 2])


def test_the_table_of_regions_says_which_head_is_on_for_which_value() -> None:
    labels = RegionLabels({"whole": (1, 2), "core": (2,)}, class_order=(1, 2))
    np.testing.assert_array_equal(labels.index_table, [[False, True, True], [False, False, True]])


def test_one_painted_value_per_region_is_demanded() -> None:
    with pytest.raises(ValueError, match="regions_class_order"):
        RegionLabels({"whole": (1, 2), "core": (2,)}, class_order=(1,))
