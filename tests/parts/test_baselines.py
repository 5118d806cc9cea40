"""Classical methods: each finds a ball in noise, and what they are made of agrees with independent implementations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from autoseg.core.evidence import Evidence, Hints, LabelledImage, tally
from autoseg.parts.baselines import (
    fast_marching,
    graph_cut,
    k_means,
    level_set,
    random_walker,
    region_growing,
    threshold,
    watershed,
)
from autoseg.parts.baselines._classes import counts, labels_of
from autoseg.parts.baselines._mixture import Mixture
from autoseg.parts.baselines._mixture import k_means as centres_of
from autoseg.pipeline.baseline import BASELINES, with_settings
from autoseg.pipeline.baseline_learning import mean_dice

SPACING = (1.5, 1.0, 1.0)
REACHED = {  # Dice of the bright ball, of whose voxels 8 % are taken for others by brightness alone
    "canny_fill": 0.75,
    "fast_marching": 0.85,
    "gmm": 0.75,
    "graph_cut": 0.93,
    "k_means": 0.75,
    "level_set": 0.9,
    "random_walker": 0.9,
    "region_growing": 0.8,
    "threshold": 0.75,
    "watershed": 0.8,
}
SLOW = {name: pytest.mark.slow for name in ("canny_fill", "gmm", "threshold")}


def ball(seed: int, shape: tuple[int, ...] = (20, 32, 32)) -> tuple[np.ndarray, np.ndarray]:
    """An image (1, *shape) of noise with a bright ball near its middle, and the ball."""
    random = np.random.default_rng(seed)
    centre = np.array(shape) / 2 + random.uniform(-2, 2, len(shape))
    axes = np.meshgrid(*(np.arange(size) for size in shape), indexing="ij")
    apart = sum(((axis - middle) * edge) ** 2 for axis, middle, edge in zip(axes, centre, SPACING[-len(shape) :]))
    truth = (apart < 9**2).astype(np.int64)
    return (0.3 + 0.4 * truth + random.normal(0, 0.14, shape))[None].astype(np.float32), truth


def evidence_of(seeds: range, shape: tuple[int, ...] = (20, 32, 32)) -> Evidence:
    spacing = SPACING[-len(shape) :]
    return Evidence.of([tally(*ball(seed, shape), spacing, (), None) for seed in seeds])


def hinted(seed: int, known: Evidence, shape: tuple[int, ...] = (20, 32, 32)) -> LabelledImage:
    image, truth = ball(seed, shape)
    spacing = SPACING[-len(shape) :]
    box = tuple(slice(0, size) for size in shape)
    return LabelledImage(image, spacing, truth, 2, known.hints(image, spacing, (), box, shape))


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other)))


@pytest.mark.parametrize("shape", [(20, 32, 32), (32, 32)], ids=["3-D", "2-D"])
@pytest.mark.parametrize("name", [pytest.param(name, marks=SLOW.get(name, ())) for name in BASELINES])
def test_a_method_finds_a_bright_ball_in_noise(name: str, shape: tuple[int, ...]) -> None:
    known = evidence_of(range(4), shape)
    case = hinted(9, known, shape)
    cases, candidates = [hinted(seed, known, shape) for seed in range(2)], BASELINES.load(name)().candidates()
    if candidates[0].largest is None:  # which number of classes is right is what such a method learns
        method = max((each.fitted(cases) for each in candidates), key=lambda each: mean_dice(each, cases))
    else:
        method = candidates[0].fitted(cases)
    before = case.image.copy()
    found = method.segment(case.image, case.spacing, None if method.largest is None else case.hints)
    assert found.shape == shape and found.dtype.kind == "i" and set(np.unique(found)) <= {0, 1}
    np.testing.assert_array_equal(case.image, before)
    assert dice(found == 1, case.truth == 1) > REACHED[name] - 0.05 * (len(shape) == 2)


@pytest.mark.slow
def test_of_two_labels_each_is_found_where_it_lies() -> None:
    """Both are as bright; only their places differ."""

    def two(seed: int) -> tuple[np.ndarray, np.ndarray]:
        random, shape = np.random.default_rng(seed), (16, 24, 40)
        z, y, x = np.meshgrid(*map(np.arange, shape), indexing="ij")
        truth = np.zeros(shape, np.int64)
        for label, middle in ((1, 11), (2, 29)):
            around = (z - 8) ** 2 + (y - 12) ** 2 + (x - middle - random.integers(-1, 2)) ** 2
            truth[around < 6**2] = label
        return (0.3 + 0.4 * (truth > 0) + random.normal(0, 0.1, shape))[None].astype(np.float32), truth

    known = Evidence.of([tally(*two(seed), (1.0, 1.0, 1.0), (), None) for seed in range(4)])
    image, truth = two(9)
    box = tuple(slice(0, size) for size in truth.shape)
    hints = known.hints(image, (1.0, 1.0, 1.0), (), box, truth.shape)
    for module in (fast_marching, graph_cut, level_set, random_walker, region_growing, watershed):
        found = module.Spec().candidates()[0].segment(image, (1.0, 1.0, 1.0), hints)
        assert min(dice(found == label, truth == label) for label in (1, 2)) > 0.85, module.__name__


def test_classes_become_the_labels_that_they_suit_best() -> None:
    """Of label 1 class 2 alone has Dice 2 * 80 / (100 + 100) = 0.8, with class 1 2 * 100 / (200 + 100) = 0.67."""
    assert labels_of(np.array([[900, 0, 0], [80, 20, 0], [20, 80, 0]])) == (0, 0, 1)
    assert labels_of(np.array([[900, 0], [40, 60], [20, 80]])) == (0, 1, 1)  # 2 * 140 / (200 + 140) is 0.82
    assert labels_of(np.array([[900, 0, 0], [0, 50, 60]])) == (0, 2)  # the one that has more of it
    assert labels_of(np.array([[900, 0, 0], [10, 0, 60]])) == (0, 2)  # a label that is nowhere gets no class
    truth = np.array([0, 1, -1, 1])
    assert counts([(np.array([0, 1, 1, 0]), truth)], 2, 2).tolist() == [[1, 1], [0, 1]]


def test_otsus_threshold_is_simpleitks() -> None:
    image = ball(3)[0]
    found = threshold.Spec(classes=2, labels=(0, 1)).segment(image, SPACING, None)
    filter_ = sitk.OtsuThresholdImageFilter()
    filter_.SetInsideValue(0)
    filter_.SetOutsideValue(1)
    filter_.SetNumberOfHistogramBins(256)
    theirs = sitk.GetArrayFromImage(filter_.Execute(sitk.GetImageFromArray(image[0])))
    assert np.mean(found != theirs) < 0.01
    assert not threshold.Spec(classes=2, labels=(0, 1)).segment(np.ones_like(image), SPACING, None).any()


@pytest.mark.slow
def test_a_mixture_and_k_means_are_scikit_learns() -> None:
    from sklearn.cluster import KMeans
    from sklearn.mixture import GaussianMixture

    random = np.random.default_rng(0)
    wide, narrow = random.normal((0, 0), (0.3, 0.1), (600, 2)), random.normal((1, 0.5), 0.1, (300, 2))
    points, begin = np.concatenate([wide, narrow]), np.array([[0.1, 0.1], [0.8, 0.4]])
    ours = centres_of(points, begin, 100)
    np.testing.assert_allclose(ours, KMeans(2, init=begin, n_init=1).fit(points).cluster_centers_, atol=1e-3)
    theirs = GaussianMixture(2, means_init=begin, tol=1e-4, max_iter=200).fit(points)
    mixture = Mixture.around(points, begin).fitted(points, 200)
    np.testing.assert_allclose(mixture.means, theirs.means_, atol=0.01)
    np.testing.assert_allclose(mixture.covariances, theirs.covariances_, atol=0.01)
    np.testing.assert_allclose(mixture.weights, theirs.weights_, atol=0.01)


def test_a_region_grows_as_simpleitks_connected_threshold() -> None:
    """Within two standard deviations of the seeds; a second part that is as bright but not connected stays out."""
    image = np.full((1, 12, 12, 12), 0.2, np.float32)
    image[0, 2:6, 2:10, 2:10], image[0, 8:11, 8:11, 8:11] = 0.8, 0.8
    image[0, 3, 4:6, 4] = 0.78
    seeds = np.zeros(image.shape[1:], np.int32)
    seeds[3, 4:6, 4:6] = 2
    even = np.full((2, *seeds.shape), 0.5, np.float32)
    found = region_growing.Spec(spread=2.0).segment(image, SPACING, Hints(even, even, np.ones(2), seeds))
    values = image[0][seeds == 2]
    limits = [float(values.mean()) + side * 2.0 * max(0.01, float(values.std())) for side in (-1, 1)]
    theirs = sitk.ConnectedThreshold(sitk.GetImageFromArray(image[0]), [(4, 4, 3)], *limits)
    np.testing.assert_array_equal(found, sitk.GetArrayFromImage(theirs))
    assert found.sum() == 4 * 8 * 8


def test_a_graph_cut_costs_no_more_than_any_other_surface() -> None:
    """All 2 ** 12 ways to part 12 pixels are tried."""
    random = np.random.default_rng(5)
    chance, channel = (
        random.uniform(0.1, 0.9, (3, 4)).astype(np.float32),
        random.normal(0, 1, (3, 4)).astype(np.float32),
    )
    first, second, weight = graph_cut._neighbours(channel, (1.0, 2.0), 1.0)
    pull = np.rint(graph_cut.UNIT * np.log(chance / (1 - chance)).reshape(-1))

    def cost(inside: np.ndarray) -> float:
        unary = np.where(inside, np.maximum(-pull, 0), np.maximum(pull, 0)).sum()
        return float(unary + weight[inside[first] != inside[second]].sum())

    every = (np.arange(1 << 12)[:, None] >> np.arange(12) & 1).astype(bool)
    ours = graph_cut._cut(chance, channel, (1.0, 2.0), 1.0)
    assert cost(ours.reshape(-1)) == min(map(cost, every))


def test_a_front_takes_as_long_as_the_way_over_the_speed() -> None:
    begin = np.zeros((5, 6, 40), bool)
    begin[:, :, 0] = True
    arrival = fast_marching._arrival(np.full(begin.shape, 0.5, np.float32), begin, (1.0, 1.0, 2.0))
    np.testing.assert_allclose(arrival[2, 3], np.arange(40) * 2.0 / 0.5, rtol=1e-4, atol=1e-4)


def test_settings_that_are_given_are_not_tried() -> None:
    assert {each.classes for each in k_means.Spec().candidates()} == {2, 3, 4, 5}
    assert [each.classes for each in with_settings(k_means.Spec(), ["classes=4"]).candidates()] == [4]
    assert {each.kind for each in level_set.Spec(seeds=0.5).candidates()} == {*level_set.KINDS}


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("threshold", {"classes": 1}, "classes must be at least 2"),
        ("random_walker", {"seeds": 1.5}, "seeds must be at most 1"),
        ("level_set", {"kind": "snake"}, "kind must be one of"),
        ("fast_marching", {"steep": 1.0}, "steep must be between 0 and 1"),
        ("graph_cut", {"smoothness": -1.0}, "smoothness must be at least 0"),
    ],
)
def test_settings_out_of_bounds_are_named(name: str, value: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        BASELINES.load(name)(**value)
