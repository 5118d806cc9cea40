"""Normalizers: the formula of each, and constant channels stay finite."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from autoseg.configuration import NORMALIZERS
from autoseg.core.records import from_json, to_json
from autoseg.errors import DatasetError
from autoseg.parts.normalizers import ct, none, rescale, rgb, zscore

CT = ct.Spec(mean=40.0, std=20.0, percentile_00_5=-100.0, percentile_99_5=200.0)
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


@pytest.mark.parametrize("spec", [CT, zscore.Spec(), zscore.Spec(mask=True), rescale.Spec(), rgb.Spec(), none.Spec()])
def test_every_normalizer_keeps_shape_gives_float32_and_survives_a_constant(spec: Any) -> None:
    channel = np.full((2, 3, 4), 9.0, np.float32)
    result = spec.apply(channel, np.ones((2, 3, 4), bool))
    assert (result.shape, result.dtype) == ((2, 3, 4), np.float32)
    assert np.isfinite(result).all()
    assert (channel == 9).all()


@pytest.mark.parametrize("name", list(NORMALIZERS))
def test_every_normalizer_is_found_by_its_name_and_kept_by_json(name: str) -> None:
    spec = CT if name == "ct" else NORMALIZERS.load(name)()
    assert NORMALIZERS.name_of(spec) == name
    assert from_json(type(spec), to_json(spec)) == spec


def test_ct_refuses_a_window_that_is_upside_down() -> None:
    with pytest.raises(ValueError, match="percentile"):
        ct.Spec(0.0, 1.0, 5.0, -5.0)
