"""What labelled cases say of labels: counted by hand where it can be."""

from __future__ import annotations

import numpy as np
import pytest

from autoseg.core.evidence import BINS, CELLS, Evidence, added, binned, scaled, tally

SPACING = (2.0, 1.0, 1.0)


def half() -> tuple[np.ndarray, np.ndarray]:
    """A label in the upper half of y, twice as bright."""
    truth = np.zeros((6, 10, 30), np.int64)
    truth[:, 5:] = 3
    return np.where(truth, 0.8, 0.4)[None].astype(np.float32), truth


def test_intensities_are_scaled_by_percentiles_and_hounsfield_units_by_their_own() -> None:
    channel = np.concatenate([np.zeros(500), np.linspace(100, 300, 1001)]).astype(np.float32)
    np.testing.assert_allclose(np.percentile(scaled(channel, False)[500:], (1, 99)), (0, 1), atol=1e-3)
    np.testing.assert_allclose(scaled(np.array([-1000.0, 0, 40, 1000], np.float32), True), (0, 0.5, 0.52, 1), atol=1e-6)
    np.testing.assert_allclose(scaled(7 * channel, False), scaled(channel, False), atol=1e-5)
    assert not scaled(np.zeros(10, np.float32), False).any()
    assert binned(np.array([-9.0, 9.0, np.nan])).tolist() == [0, BINS - 1, binned(np.zeros(1))[0]]


def test_a_tally_counts_voxels_places_and_sizes() -> None:
    image, truth = half()
    found = tally(image, truth, SPACING, (), None)
    assert {index: each.brightness.sum() for index, each in found.items()} == {0: 900, 3: 900}
    assert found[3].sizes == (1800.0,)
    expected = np.repeat([0.0, 1.0], CELLS // 2)[None, :, None]
    np.testing.assert_allclose(found[3].places, np.broadcast_to(expected, (CELLS,) * 3), atol=1e-5)
    assert not tally(image, truth, SPACING, (0,), None)[3].brightness.any()
    assert [*tally(image, truth, SPACING, (), 3)] == [0]
    twice = added([found, found])
    assert twice[3].sizes == (1800.0, 1800.0) and twice[0].brightness.sum() == 1800


def test_hints_are_probabilities_by_bayes_rule() -> None:
    image, truth = half()
    known = Evidence.of([tally(image, truth, SPACING, (), None)] * 2)
    box = tuple(slice(0, size) for size in truth.shape)
    hints = known.hints(image, SPACING, (), box, truth.shape)
    np.testing.assert_allclose(hints.probabilities.sum(0), 1, rtol=1e-4)
    np.testing.assert_array_equal(hints.probabilities.argmax(0), truth > 0)
    assert known.indices == (0, 3) and hints.sizes.tolist() == [900, 900]
    blind = known.hints(image, SPACING, (0,), box, truth.shape)  # the case lacks the channel: its place is left
    np.testing.assert_allclose(blind.likelihoods, 1)
    np.testing.assert_array_equal(blind.probabilities.argmax(0)[:, [0, 9]], truth[:, [0, 9]] > 0)
    seeds = hints.seeds(0.1, 0.9)
    assert (seeds == 2).sum() == 90 and set(truth[seeds == 2]) == {3} and set(truth[seeds == 1]) == {0}


def test_the_box_holds_all_places_of_labels_and_hints_of_a_part_are_those_of_the_whole() -> None:
    truth = np.zeros((24, 48, 24), np.int64)
    truth[12:15, 30:36, 3:6] = 1
    image = np.random.default_rng(0).random((1, *truth.shape), dtype=np.float32)
    known = Evidence.of([tally(image, truth, SPACING, (), None)])
    box = known.box(truth.shape)
    assert (truth[box] == 1).sum() == (truth == 1).sum() and truth[box].size < truth.size / 2
    whole = known.hints(image, SPACING, (), tuple(slice(0, size) for size in truth.shape), truth.shape)
    part = known.hints(image[(slice(None), *box)], SPACING, (), box, truth.shape)
    np.testing.assert_allclose(part.probabilities, whole.probabilities[(slice(None), *box)], atol=1e-6)


def test_the_channel_that_tells_labels_apart_comes_first() -> None:
    image, truth = half()
    noise = np.random.default_rng(0).random((1, *truth.shape), dtype=np.float32)
    assert Evidence.of([tally(np.concatenate([noise, image]), truth, SPACING, (), None)]).telling() == [1, 0]


@pytest.mark.parametrize("size", [1, 5, 24, 100])
def test_images_of_any_size_have_places(size: int) -> None:
    truth = np.ones((size, 4), np.int64)
    found = tally(np.zeros((1, size, 4), np.float32), truth, (1.0, 1.0), (), None)
    np.testing.assert_allclose(found[1].places, 1, rtol=1e-5)
