"""Spatial records: home is where we came from."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from autoseg.core.geometry import Box
from autoseg.core.records import from_json, to_json
from autoseg.parts.resamplers import spline
from autoseg.preprocessing.spatial import SpatialRecord, resampled_shape, spatial_record

RESAMPLER = spline.Spec()
SHAPES = st.tuples(*[st.integers(1, 9)] * 3)
SPACINGS = st.tuples(*[st.floats(0.3, 5.0)] * 3)
ORDERS = st.permutations([0, 1, 2]).map(tuple)


@st.composite
def records(draw: st.DrawFn, same_spacing: bool) -> SpatialRecord:
    shape, spacing, order = draw(SHAPES), draw(SPACINGS), draw(ORDERS)
    turned = tuple(shape[axis] for axis in order)
    start = tuple(draw(st.integers(0, size - 1)) for size in turned)
    stop = tuple(draw(st.integers(low + 1, size)) for low, size in zip(start, turned))
    target = (None,) * 3 if same_spacing else draw(SPACINGS)
    return spatial_record(shape, spacing, order, Box(start, stop), target)


def shape_of_file(record: SpatialRecord) -> tuple[int, ...]:
    transpose, crop, _ = record.steps
    return tuple(crop.shape[transpose.order.index(axis)] for axis in range(3))


@given(records(same_spacing=True))
def test_undo_brings_every_voxel_home(record: SpatialRecord) -> None:
    shape = shape_of_file(record)
    numbered = np.arange(1, np.prod(shape) + 1).reshape(shape)
    kept = record.apply(numbered, RESAMPLER.resample_labels)
    home = record.undo(kept, RESAMPLER.resample_labels)
    assert home.shape == shape
    assert (home[home != 0] == numbered[home != 0]).all()
    assert (home != 0).sum() == kept.size


@given(records(same_spacing=False), st.integers(1, 3))
def test_undo_of_any_record_has_the_files_shape(record: SpatialRecord, heads: int) -> None:
    shape = shape_of_file(record)
    there = record.apply(np.ones((heads, *shape), np.float32), RESAMPLER.resample_image)
    home = record.undo(there, RESAMPLER.resample_logits)
    assert home.shape == (heads, *shape)


@given(records(same_spacing=False))
def test_a_constant_stays_constant(record: SpatialRecord) -> None:
    there = record.apply(np.full((1, *shape_of_file(record)), 7.0, np.float32), RESAMPLER.resample_image)
    np.testing.assert_allclose(there, 7.0, rtol=1e-6)


@given(records(same_spacing=False))
def test_json_keeps_the_record(record: SpatialRecord) -> None:
    assert from_json(SpatialRecord, json.loads(json.dumps(to_json(record)))) == record


@given(records(same_spacing=False))
def test_split_loses_no_step(record: SpatialRecord) -> None:
    before, resampling = record.split()
    assert (*before.steps, resampling) == record.steps


def test_what_was_cropped_away_becomes_the_fill_value() -> None:
    record = spatial_record((3, 3, 3), (1.0, 1.0, 1.0), (0, 1, 2), Box((1, 1, 1), (2, 2, 2)), (None, None, None))
    home = record.undo(np.full((1, 1, 1), 2.0), RESAMPLER.resample_labels, fill=-1)
    assert home[1, 1, 1] == 2
    assert (home == -1).sum() == 26


def test_physical_extent_is_kept() -> None:
    assert resampled_shape((10, 20, 30), (2.0, 1.0, 1.0), (1.0, 2.0, 1.5)) == (20, 10, 20)


def test_no_axis_vanishes() -> None:
    assert resampled_shape((1, 2, 3), (1.0, 1.0, 1.0), (9.0, 9.0, 9.0)) == (1, 1, 1)


@given(records(same_spacing=True), st.data())
def test_a_point_goes_where_its_voxel_goes(record: SpatialRecord, data: st.DataObject) -> None:
    shape, box = shape_of_file(record), record.steps[1].box
    turn = replace(record.steps[0], reversed=data.draw(st.sets(st.integers(0, 2)).map(tuple)))
    record = SpatialRecord((turn, *record.steps[1:]))
    numbered = np.arange(np.prod(shape)).reshape(shape)
    there = record.apply(numbered, RESAMPLER.resample_labels)
    places = np.array([np.unravel_index(number, shape) for number in there.flat])
    np.testing.assert_allclose(record.points(places), np.argwhere(np.ones(box.shape)), atol=1e-9)


@given(records(same_spacing=False))
def test_the_corners_of_a_volume_stay_corners(record: SpatialRecord) -> None:
    turn, crop, resample = record.steps
    corners = np.array([crop.box.start, crop.box.stop]) - 0.5
    file_corners = corners[:, [turn.order.index(axis) for axis in range(3)]]
    expected = np.array([(0, 0, 0), resample.new_shape]) - 0.5
    np.testing.assert_allclose(record.points(file_corners), expected, atol=1e-9)
