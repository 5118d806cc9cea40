"""Normalizers: the formula of each, and constant channels stay finite."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from autoseg.configuration import NORMALIZERS
from autoseg.core.records import from_json, to_json
from autoseg.errors import DatasetError
from autoseg.parts.normalizers import ct, histogram, none, pet_suv, rescale, rgb, zscore

CT = ct.Spec(mean=40.0, std=20.0, percentile_00_5=-100.0, percentile_99_5=200.0)
HISTOGRAM = histogram.Spec(landmarks=(-2.0, -1.3, -0.9, -0.6, -0.2, 0.0, 0.1, 0.5, 0.9, 1.4, 2.6))
CHANNELS = arrays(np.float32, (2, 3, 4), elements=st.floats(0, 255, width=32))


@given(CHANNELS)
def test_zscore_gives_zero_mean_and_unit_std(channel: np.ndarray) -> None:
    result = zscore.Spec().apply(channel)
    if channel.std() > 1:
        assert abs(result.mean()) < 1e-4
        assert abs(result.std() - 1) < 1e-4


def test_masked_zscore_looks_inside_only() -> None:
    channel = np.array([0, 0, 5, 7, 9], np.float32).reshape(1, 1, 5)
    result = zscore.Spec(mask=True).apply(channel, channel > 0).ravel()
    assert result[:2].tolist() == [0, 0]
    np.testing.assert_allclose(result[2:], (np.array([5, 7, 9]) - 7) / np.std([5, 7, 9]), rtol=1e-6)


def test_an_empty_mask_changes_nothing() -> None:
    channel = np.ones((2, 2, 2), np.float32)
    np.testing.assert_array_equal(zscore.Spec(mask=True).apply(channel, np.zeros((2, 2, 2), bool)), channel)


def test_ct_clips_then_scales() -> None:
    channel = np.array([-1000, 40, 60, 3000], np.float32).reshape(1, 1, 4)
    np.testing.assert_allclose(CT.apply(channel).ravel(), [-7, 0, 1, 8], rtol=1e-6)


@given(CHANNELS)
def test_rescale_lies_between_0_and_1(channel: np.ndarray) -> None:
    result = rescale.Spec().apply(channel)
    assert result.min() == 0
    assert result.max() == pytest.approx(1) or np.ptp(channel) < 1e-6


def test_rgb_divides_by_255() -> None:
    assert rgb.Spec().apply(np.array([[[0, 51, 255]]], np.float32)).ravel().tolist() == pytest.approx([0, 0.2, 1])


@pytest.mark.parametrize("value", [-1.0, 256.0])
def test_rgb_refuses_other_images(value: float) -> None:
    with pytest.raises(DatasetError, match=r"0\.\.255"):
        rgb.Spec().apply(np.full((1, 1, 1), value, np.float32))


@pytest.mark.parametrize(
    "spec",
    [
        CT,
        HISTOGRAM,
        replace(HISTOGRAM, mask=True),
        pet_suv.Spec(),
        zscore.Spec(),
        zscore.Spec(mask=True),
        rescale.Spec(),
        rgb.Spec(),
        none.Spec(),
    ],
)
def test_every_normalizer_keeps_shape_gives_float32_and_survives_a_constant(spec: Any) -> None:
    channel = np.full((2, 3, 4), 9.0, np.float32)
    result = spec.apply(channel, np.ones((2, 3, 4), bool))
    assert (result.shape, result.dtype) == ((2, 3, 4), np.float32)
    assert np.isfinite(result).all()
    assert (channel == 9).all()


@pytest.mark.parametrize("name", list(NORMALIZERS))
def test_every_normalizer_is_found_by_its_name_and_kept_by_json(name: str) -> None:
    spec = {"ct": CT, "histogram": HISTOGRAM}.get(name) or NORMALIZERS.load(name)()
    assert NORMALIZERS.name_of(spec) == name
    assert from_json(type(spec), to_json(spec)) == spec


def test_ct_refuses_a_window_that_is_upside_down() -> None:
    with pytest.raises(ValueError, match="percentile"):
        ct.Spec(0.0, 1.0, 5.0, -5.0)


VARIED = arrays(np.float64, (3, 6, 7), elements=st.floats(1, 1000), unique=True)


@pytest.mark.slow
@given(VARIED, st.floats(0.01, 100), st.floats(-500, 500), st.booleans())
def test_standardised_images_do_not_depend_on_gain_and_offset(
    channel: np.ndarray, gain: float, offset: float, mask: bool
) -> None:
    spec, inside = replace(HISTOGRAM, mask=mask), channel > np.median(channel) / 2
    one, other = (spec.apply(each.astype(np.float32), inside) for each in (channel, gain * channel + offset))
    if np.ptp(channel[inside]) < 1 or np.ptp(channel[channel > channel.mean()]) < 1:
        return  # then float32 with an offset holds too little of it
    np.testing.assert_allclose(one, other, atol=0.02 * max(1, 1 / gain))


@pytest.mark.slow
@given(VARIED, st.booleans())
def test_standardising_keeps_the_order_of_voxels(channel: np.ndarray, mask: bool) -> None:
    inside = channel > 5
    found = replace(HISTOGRAM, mask=mask).apply(channel.astype(np.float32), inside)
    order = np.argsort(channel[inside].astype(np.float32))
    assert (np.diff(found[inside][order]) >= -1e-5).all()
    assert not mask or (found[~inside] == 0).all()


def test_landmarks_of_an_image_go_where_the_standard_scales_are() -> None:
    channel = np.random.default_rng(0).gamma(3, 40, (20, 30, 30)).astype(np.float32)
    mask = channel > 60
    found = replace(HISTOGRAM, mask=True).apply(channel, mask)
    np.testing.assert_allclose(np.percentile(found[mask], histogram.PERCENTILES), HISTOGRAM.landmarks, atol=0.01)
    bright = channel > channel.mean()
    found = HISTOGRAM.apply(channel)
    np.testing.assert_allclose(np.percentile(found[bright], histogram.PERCENTILES), HISTOGRAM.landmarks, atol=0.01)


def test_histograms_of_two_scanners_agree_once_standardised() -> None:
    """A gain alone a z-score mends as well; another contrast curve only landmarks do."""
    random = np.random.default_rng(0)
    anatomy = random.gamma(3, 40, (2, 20, 30, 30)).astype(np.float32)
    scans = [anatomy[0], 900 * (anatomy[1] / 400) ** 1.6]
    landmarks = [np.percentile(scan, histogram.PERCENTILES) for scan in scans]
    spec, whole = histogram.learned(landmarks, mask=True), np.ones(scans[0].shape, bool)
    grid = np.linspace(2, 98, 25)

    def apart(normalise: Any) -> float:
        first, second = (np.percentile(normalise(scan), grid) for scan in scans)
        return float(np.abs(first - second).mean())

    assert apart(lambda scan: spec.apply(scan, whole)) < apart(zscore.Spec().apply) / 5


def test_the_standard_scale_has_mean_0_and_deviation_1() -> None:
    sample = np.random.default_rng(0).gamma(3, 40, (50, 4000))
    spec = histogram.learned(np.percentile(sample, histogram.PERCENTILES, axis=1).T, mask=True)
    found = spec.apply(sample.reshape(50, 40, 100).astype(np.float32), np.ones((50, 40, 100), bool))
    assert found.mean() == pytest.approx(0, abs=0.05) and found.std() == pytest.approx(1, abs=0.1)


def test_the_standard_scale_is_that_of_images_with_contrast() -> None:
    image = tuple(float(value) ** 1.5 for value in range(11))
    assert histogram.learned([image, (5.0,) * 11, ()], mask=False) == histogram.learned([image], mask=False)
    with pytest.raises(ValueError, match="contrast"):
        histogram.learned([(5.0,) * 11], mask=False)


def test_landmarks_that_coincide_stay_finite_and_in_order() -> None:
    channel = np.repeat(np.float32([0, 1, 2, 3]), 60).reshape(4, 6, 10)
    found = replace(HISTOGRAM, mask=True).apply(channel, channel > -1)
    values = [float(np.unique(plane).item()) for plane in found]
    assert values == sorted(values) and np.isfinite(values).all() and values[0] < values[-1]


@pytest.mark.parametrize(
    "landmarks", [(1.0,), (1.0,) * 12, tuple(range(11, 0, -1)), (float("nan"),) * 11, (*range(10), 1e30)]
)
def test_landmarks_that_are_no_scale_are_refused(landmarks: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="landmarks"):
        histogram.Spec(landmarks)


def test_suv_are_clipped_to_the_range_and_scaled() -> None:
    channel = np.array([-1, 0, 5, 20, 300], np.float32).reshape(1, 1, 5)
    assert pet_suv.Spec().apply(channel).ravel().tolist() == pytest.approx([0, 0, 0.25, 1, 1])
    assert pet_suv.Spec(2.0, 12.0).apply(channel).ravel().tolist() == pytest.approx([0, 0, 0.3, 1, 1])


@pytest.mark.parametrize(("low", "high"), [(5.0, 5.0), (9.0, 2.0), (0.0, 1e9), (float("nan"), 1.0)])
def test_a_range_of_suv_that_is_none_is_refused(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="must"):
        pet_suv.Spec(low, high)
