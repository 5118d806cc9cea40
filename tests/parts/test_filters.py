"""Filters: N4 takes a planted field out and is SimpleITK's, denoisers are their libraries', settings are bounded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from skimage.restoration import denoise_nl_means

from autoseg.configuration import FILTERS
from autoseg.parts.filters import (
    curvature_anisotropic_diffusion,
    gaussian,
    median,
    n4,
    non_local_means,
)

SPACING = (2.0, 1.0, 1.5)


def phantom(shape: tuple[int, ...] = (40, 48, 44), noise: float = 0.02, seed: int = 0) -> np.ndarray:
    """A ball of two tissues in air that is exactly 0."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij")
    inside = z**2 + y**2 + x**2 < 0.8
    tissue = np.where((np.abs(y) < 0.4) & (np.abs(x) < 0.5), 140.0, 100.0)
    return (inside * tissue * (1 + noise * np.random.default_rng(seed).standard_normal(shape))).astype(np.float32)


def field(shape: tuple[int, ...]) -> np.ndarray:
    """A smooth factor between 0.6 and 1.6."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij")
    return np.exp(0.3 * y - 0.15 * x + 0.2 * z * z - 0.1 * y * x).astype(np.float32)


def variation(channel: np.ndarray, where: np.ndarray) -> float:
    return float(channel[where].std() / channel[where].mean())


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 2])
def test_n4_takes_a_planted_field_out(size: int) -> None:
    """Within one tissue the coefficient of variation falls to less than a third, on a coarse grid as well."""
    shape = tuple(edge * size for edge in (40, 48, 44))
    clean = phantom(shape)
    biased = clean * field(shape)
    tissue = (clean > 90) & (clean < 110)
    spec = n4.Spec(iterations=(50, 50, 50))
    corrected = spec.apply(biased, (2.0,) * 3)
    assert spec.estimate(biased, (2.0,) * 3).size < clean.size / (6 * size)
    assert variation(biased, tissue) > 0.15
    assert variation(corrected, tissue) < variation(biased, tissue) / 3
    assert corrected.dtype == np.float32 and (corrected[clean == 0] == 0).all()


@pytest.mark.slow
def test_n4_equals_simpleitks_result_where_the_grid_is_not_shrunk() -> None:
    biased = phantom((20, 24, 22)) * field((20, 24, 22))
    image = sitk.GetImageFromArray(biased)
    image.SetSpacing(SPACING[::-1])
    mask = sitk.And(sitk.OtsuThreshold(image, 0, 1, 200), sitk.Cast(image > 0, sitk.sitkUInt8))
    corrector = sitk.N4BiasFieldCorrectionImageFilter()
    corrector.SetNumberOfThreads(1)
    corrector.SetMaximumNumberOfIterations([20, 20])
    corrector.SetConvergenceThreshold(0.0001)
    expected = sitk.GetArrayFromImage(corrector.Execute(image, mask))
    found = n4.Spec(iterations=(20, 20), voxel=1.0).apply(biased, SPACING)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert np.abs(found - biased).max() > 10


def test_n4_of_a_slice_is_two_dimensional() -> None:
    clean = phantom((3, 96, 88))[1:2]
    biased = clean * field((3, 96, 88))[1:2]
    corrected = n4.Spec().apply(biased, (999.0, 1.0, 1.0))
    tissue = (clean > 90) & (clean < 110)
    assert variation(corrected, tissue) < variation(biased, tissue) / 3


@pytest.mark.parametrize(
    "channel",
    [
        np.full((20, 20, 20), 7.0, np.float32),
        np.zeros((20, 20, 20), np.float32),
        np.full((20, 20, 20), -7.0, np.float32),
        np.arange(8, dtype=np.float32).reshape(2, 2, 2),
        np.arange(900, dtype=np.float32).reshape(3, 10, 30),
        np.eye(20, dtype=np.float32)[None],
        np.arange(5, dtype=np.float32).reshape(1, 1, 5),
    ],
    ids=["constant", "zero", "negative", "tiny", "thin", "few voxels", "a row"],
)
def test_n4_leaves_alone_what_says_nothing_of_a_field(channel: np.ndarray) -> None:
    before = channel.copy()
    np.testing.assert_array_equal(n4.Spec().apply(channel, (1.0, 1.0, 1.0)), before)
    np.testing.assert_array_equal(channel, before)


@pytest.mark.parametrize(
    ("shape", "spacing", "coarse"),
    [
        ((160, 240, 240), (1.0, 1.0, 1.0), (27, 40, 40)),
        ((24, 256, 256), (6.5, 0.9, 0.9), (24, 37, 37)),
        ((64, 64, 64), (0.001, 0.001, 0.001), (16, 16, 16)),  # a microscope's
        ((1, 4000, 3000), (999.0, 1.0, 1.0), (1, 63, 64)),
        ((35, 51, 35), (1.0, 1.0, 1.0), (18, 17, 18)),
    ],
)
def test_the_coarse_grid_of_n4_has_voxels_of_a_few_mm(
    shape: tuple[int, ...], spacing: tuple[float, ...], coarse: tuple[int, ...]
) -> None:
    assert n4.Spec(iterations=(1,)).estimate(np.zeros(shape, np.float32), spacing).shape == coarse


@settings(max_examples=20)
@given(st.tuples(*[st.integers(1, 40)] * 3), st.tuples(*[st.floats(0.3, 9)] * 3), st.floats(-1, 1))
def test_a_log_field_that_is_linear_is_interpolated_between_coarse_voxels_as_it_is(
    shape: tuple[int, ...], spacing: tuple[float, ...], slope: float
) -> None:
    """And beyond the last of them it stays."""
    spec = n4.Spec(voxel=12.0)
    coarse = spec.estimate(np.zeros(shape, np.float32), spacing).shape
    assert all(1 <= few <= many for few, many in zip(coarse, shape))
    steps = [-(-size // count) for size, count in zip(shape, coarse)]
    values = np.indices(coarse)
    log = sum(slope * (along * step + (step - 1) // 2) / 40 for along, step in zip(values, steps))
    if not log.any():
        return
    found = spec.apply_estimate(np.ones(shape, np.float32), spacing, log.astype(np.float32))
    limits = [((step - 1) // 2, (step - 1) // 2 + (count - 1) * step) for step, count in zip(steps, coarse)]
    places = [np.clip(along, *limit) for along, limit in zip(np.indices(shape), limits)]
    np.testing.assert_allclose(found, np.exp(-sum(slope * place / 40 for place in places)), rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("slices", [4, 7])
def test_n4_of_a_few_slices(slices: int) -> None:
    clean = phantom((slices + 2, 96, 88))[1:-1]
    biased = clean * field((slices, 96, 88))
    tissue = (clean > 90) & (clean < 110)
    corrected = n4.Spec().apply(biased, (8.0, 1.0, 1.0))
    assert variation(corrected, tissue) < variation(biased, tissue) / 1.5


def test_n4_gives_the_same_numbers_each_time() -> None:
    biased = phantom((20, 24, 22)) * field((20, 24, 22))
    first, second = (n4.Spec(iterations=(5, 5)).apply(biased, SPACING) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.slow
def test_denoisers_are_their_libraries() -> None:
    noisy = phantom(noise=0.1)
    image = sitk.GetImageFromArray(noisy)
    image.SetSpacing(SPACING[::-1])
    expected: dict[Any, np.ndarray] = {
        median.Spec(): sitk.GetArrayFromImage(sitk.Median(image, [1, 1, 1])),
        gaussian.Spec(sigma=1.0): gaussian_filter(noisy, (0.5, 1.0, 1 / 1.5)),
        curvature_anisotropic_diffusion.Spec(iterations=3): sitk.GetArrayFromImage(
            sitk.CurvatureAnisotropicDiffusion(image, timeStep=1 / 16, numberOfIterations=3)
        ),
    }
    for spec, result in expected.items():
        np.testing.assert_allclose(spec.apply(noisy, SPACING), result, rtol=1e-5, atol=1e-4)
    sigma = non_local_means.noise_of(noisy)
    result = denoise_nl_means(noisy, 3, 3, 0.8 * sigma, sigma=sigma, fast_mode=True, preserve_range=True)
    np.testing.assert_allclose(non_local_means.Spec().apply(noisy, SPACING), result, rtol=1e-5)


def test_the_median_looks_at_no_neighbours_that_lie_far_away() -> None:
    channel = np.zeros((3, 9, 9), np.float32)
    channel[1] = 5
    np.testing.assert_array_equal(median.Spec().apply(channel, (6.0, 1.0, 1.0)), channel)
    assert (median.Spec().apply(channel, (1.0, 1.0, 1.0)) != channel).any()


@pytest.mark.parametrize("sigma", [0.5, 20.0])
def test_the_noise_is_measured(sigma: float) -> None:
    random = np.random.default_rng(1)
    channel = (500 + np.indices((20, 30, 40))[1] + sigma * random.standard_normal((20, 30, 40))).astype(np.float32)
    channel[:10] = 0  # as around a brain that was cut out
    assert non_local_means.noise_of(channel) == pytest.approx(sigma, rel=0.05)


@pytest.mark.parametrize("name", [name for name in FILTERS if name != "n4"])
@pytest.mark.parametrize("shape", [(12, 20, 18), (1, 30, 28)], ids=["volume", "slice"])
def test_a_denoiser_lowers_noise_and_keeps_the_mean(name: str, shape: tuple[int, ...]) -> None:
    noisy = (100 + 5 * np.random.default_rng(0).standard_normal(shape)).astype(np.float32)
    found = FILTERS.load(name)().apply(noisy, (999.0 if shape[0] == 1 else 1.0, 1.0, 1.0))
    assert found.std() < 0.8 * noisy.std()
    assert found.mean() == pytest.approx(noisy.mean(), rel=0.01)


def test_a_wide_gaussian_of_tiny_voxels_ends() -> None:
    channel = np.random.default_rng(0).random((8, 64, 64), np.float32)
    assert gaussian.Spec(sigma=50.0).apply(channel, (1e-6,) * 3).std() < channel.std() / 5


@pytest.mark.parametrize(
    ("part", "given_"),
    [
        (n4, {"iterations": (10**6,)}),
        (n4, {"iterations": (0,)}),
        (n4, {"iterations": ()}),
        (n4, {"iterations": (50,) * 20}),
        (n4, {"control_points": 3}),
        (n4, {"control_points": 16, "iterations": (1,) * 6}),  # 416 cells along each axis, gigabytes of control points
        (n4, {"control_points": 10**6}),
        (n4, {"voxel": 0.0}),
        (n4, {"voxel": float("nan")}),
        (n4, {"convergence": -1.0}),
        (n4, {"width": 0.0}),
        (n4, {"noise": float("inf")}),
        (median, {"radius": 0}),
        (median, {"radius": 10**6}),
        (gaussian, {"sigma": 0.0}),
        (gaussian, {"sigma": 1e9}),
        (curvature_anisotropic_diffusion, {"iterations": 10**6}),
        (curvature_anisotropic_diffusion, {"conductance": 0.0}),
        (non_local_means, {"patch_size": 99}),
        (non_local_means, {"patch_distance": 10**6}),
        (non_local_means, {"strength": -1.0}),
    ],
)
def test_settings_that_nobody_can_mean_are_refused(part: Any, given_: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must"):
        part.Spec(**given_)
