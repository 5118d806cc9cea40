"""Fusion quality is what its formulas say, and channels that lie beside each other are shown worse."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from skimage.measure import shannon_entropy
from two_channels import GRID, phantom

from autoseg.core.geometry import Geometry, Image
from autoseg.inspection.fusion_quality import (
    EDGE,
    SLICES,
    average_gradient,
    fusion_quality,
    grey_levels,
    mutual_information,
    spatial_frequency,
)


def image_of(*channels: np.ndarray, absent: tuple[int, ...] = ()) -> Image:
    array = np.stack(channels).astype(np.float32)
    return Image(array, Geometry.plain(array.shape[1:], (1.0, 1.0, 1.0)), absent)


def test_spatial_frequency_and_average_gradient_of_small_pictures_by_hand() -> None:
    square = np.array([[[0, 3], [4, 0]]], np.uint8)  # along rows +3 and -4, along columns +4 and -3
    assert spatial_frequency(square) == pytest.approx(math.sqrt((9 + 16 + 16 + 9) / 4))
    assert average_gradient(square) == pytest.approx(math.sqrt((9 + 16) / 2))
    stairs = np.array([[[0, 2, 4], [0, 2, 4]]], np.uint8)
    assert spatial_frequency(stairs) == pytest.approx(math.sqrt(4 * 4 / 6))
    assert average_gradient(stairs) == pytest.approx(math.sqrt(4 / 2))
    assert spatial_frequency(np.full((2, 3, 3), 9, np.uint8)) == average_gradient(np.full((2, 3, 3), 9, np.uint8)) == 0


def test_slices_are_taken_together() -> None:
    slices = np.random.default_rng(0).integers(0, 256, (5, 8, 9)).astype(np.uint8)
    single = [spatial_frequency(slices[number : number + 1]) for number in range(5)]
    assert spatial_frequency(slices) == pytest.approx(math.sqrt(np.mean(np.square(single))))
    gradients = [average_gradient(slices[number : number + 1]) for number in range(5)]
    assert average_gradient(slices) == pytest.approx(np.mean(gradients))


def test_mutual_information_is_that_of_scikit_image_s_entropies() -> None:
    random = np.random.default_rng(0)
    first = random.integers(0, 256, (3, 40, 50)).astype(np.uint8)
    second = np.where(random.random(first.shape) < 0.7, first // 2, random.integers(0, 256, first.shape)).astype(
        np.uint8
    )
    joint = shannon_entropy(first.astype(np.int64) * 256 + second)
    expected = shannon_entropy(first) + shannon_entropy(second) - joint
    assert mutual_information(first, second) == pytest.approx(expected, rel=1e-9)
    assert mutual_information(second, first) == pytest.approx(expected, rel=1e-9)


def test_mutual_information_by_hand() -> None:
    four = np.arange(4, dtype=np.uint8).repeat(4)
    assert mutual_information(four, 3 - four) == pytest.approx(2)
    assert mutual_information(four, np.tile(np.arange(4, dtype=np.uint8), 4)) == pytest.approx(0, abs=1e-12)
    assert mutual_information(four, four // 2) == pytest.approx(1)
    assert mutual_information(four, np.zeros_like(four)) == pytest.approx(0, abs=1e-12)


def test_grey_levels_go_from_percentile_to_percentile() -> None:
    values = np.linspace(-3, 7, 1001).reshape(1, 7, 143)
    grey = grey_levels(values)
    low, high = np.percentile(values, [1, 99])
    assert (grey[values <= low] == 0).all() and (grey[values >= high] == 255).all()
    assert grey[values == values.flat[500]] == pytest.approx(128, abs=1)
    assert not grey_levels(np.full((1, 3, 3), 5.0)).any()


def test_the_picture_is_the_mean_of_the_channels() -> None:
    random = np.random.default_rng(0)
    first, second = random.random((2, 4, 20, 20))
    found = fusion_quality(image_of(first, second))
    assert found is not None
    fused = np.rint((grey_levels(first).astype(float) + grey_levels(second)) / 2).astype(np.uint8)
    assert found.spatial_frequency == pytest.approx(spatial_frequency(fused))
    assert found.average_gradient == pytest.approx(average_gradient(fused))
    assert found.information == pytest.approx(
        [mutual_information(grey_levels(each), fused) for each in (first, second)]
    )


@pytest.mark.parametrize("shift", [1, 2, 4, -3])
def test_edges_of_a_channel_that_is_shifted_no_longer_coincide(shift: int) -> None:
    first, second, _ = phantom()
    together = fusion_quality(Image(np.stack([first, second]), GRID))
    beside = fusion_quality(Image(np.stack([first, np.roll(second, shift, axis=2)]), GRID))
    assert together is not None and beside is not None
    assert beside.spatial_frequency < 0.9 * together.spatial_frequency


def test_absent_channels_have_no_share_in_it() -> None:
    first, second, _ = phantom()
    both = fusion_quality(Image(np.stack([first, second]), GRID))
    three = fusion_quality(Image(np.stack([first, np.zeros_like(first), second]), GRID, (1,)))
    assert both is not None and three is not None
    assert three == replace(both, information=(both.information[0], None, both.information[1]))


@pytest.mark.parametrize(
    "image",
    [
        image_of(np.ones((3, 4, 5))),
        image_of(np.ones((3, 4, 5)), np.zeros((3, 4, 5)), absent=(1,)),
        image_of(np.ones((3, 1, 5)), np.ones((3, 1, 5))),
        image_of(np.ones((1, 1, 1)), np.ones((1, 1, 1))),
    ],
    ids=["one channel", "one is there", "lines", "one voxel"],
)
def test_what_is_no_picture_of_several_channels_has_none(image: Image) -> None:
    assert fusion_quality(image) is None


def test_constant_channels_share_nothing() -> None:
    found = fusion_quality(image_of(np.ones((3, 4, 5)), np.full((3, 4, 5), 2.0)))
    assert found is not None
    assert (found.spatial_frequency, found.average_gradient, *found.information) == pytest.approx((0, 0, 0, 0))


def test_of_large_images_a_part_is_looked_at() -> None:
    large = np.zeros((2, 4 * SLICES, EDGE + 4, EDGE + 8), np.uint8)
    large[:, :, 2:-2, 4:-4] = np.random.default_rng(0).integers(0, 256, (1, EDGE, EDGE))
    found = fusion_quality(Image(large, GRID))
    small = fusion_quality(Image(large[:, ::4, 2:-2, 4:-4], GRID))
    assert found == small
