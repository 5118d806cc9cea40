"""The crop to nonzero is the smallest box that loses nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from autoseg.core.geometry import SLICE_SPACING_2D, Box, Geometry, nonzero_box

arrays = npst.arrays(np.int8, st.tuples(*[st.integers(1, 5)] * 4), elements=st.sampled_from([0, 0, 0, 1]))


@given(arrays)
def test_nothing_nonzero_is_lost_and_every_face_touches(array: np.ndarray) -> None:
    box = nonzero_box(array)
    inside = array[(slice(None), *box.slices)]
    assert np.count_nonzero(inside) == np.count_nonzero(array)
    if np.count_nonzero(array):
        for axis in (1, 2, 3):
            assert np.take(inside, 0, axis).any()
            assert np.take(inside, -1, axis).any()
    else:
        assert box == Box.whole(array.shape[1:])


def test_two_dimensions_are_one_slice_that_no_rule_joins() -> None:
    geometry = Geometry.plain_2d((4, 5), (0.5, 2.0))
    assert geometry.shape == (1, 4, 5)
    assert geometry.dimensions == 2
    assert geometry.spacing == (SLICE_SPACING_2D * 2.0, 0.5, 2.0)


@pytest.mark.parametrize(
    ("direction", "axis"),
    [
        ((1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0), 2),  # axial slices
        ((0.0, 0.0, -1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0), 0),  # sagittal slices: from one to the next it is right-left
        ((0.2, -0.98, 0.0, 0.98, 0.2, 0.0, 0.0, 0.0, 1.0), 1),  # turned by almost a quarter
        ((0.0, 1.0, 1.0, 0.0), 1),
    ],
)
def test_left_right_is_the_axis_closest_to_the_patients(direction: tuple[float, ...], axis: int) -> None:
    dimensions = 2 if len(direction) == 4 else 3
    assert Geometry((4, 4, 4), (1.0, 1.0, 1.0), (0.0,) * dimensions, direction).left_right == axis
