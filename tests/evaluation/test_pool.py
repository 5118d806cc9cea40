"""Weights that are learned for each label are those of the least cross-entropy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from autoseg.evaluation.pool import UNSURE, WHOLE, Pool, pool_weights, whole_shares

SIZES = st.tuples(st.integers(2, 4), st.integers(1, 3), st.integers(20, 200))


def made(seed: int, members: int, heads: int, voxels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Members of different skill, each for other heads; and how often each voxel counts."""
    random = np.random.default_rng(seed)
    truth = random.random((heads, voxels)) < 0.4
    skill = random.uniform(-0.5, 2.5, (members, heads, 1))
    chances = 1 / (1 + np.exp(-(skill * (2 * truth - 1) + random.normal(size=(members, heads, voxels)))))
    return chances, truth, random.uniform(0.5, 2, voxels)


def cross_entropy(weights: np.ndarray, chances: np.ndarray, truth: np.ndarray, counts: np.ndarray) -> float:
    """Of one head: ``weights`` (members,), ``chances`` (members, voxels)."""
    likely = np.where(truth, chances, 1 - chances).clip(UNSURE)
    return float(-(counts * np.log(weights @ likely)).sum() / counts.sum())


@settings(max_examples=15)
@given(st.integers(0, 2**20), SIZES)
def test_no_other_weights_have_less_cross_entropy(seed: int, sizes: tuple[int, int, int]) -> None:
    """Compared with what SciPy finds under the same constraints."""
    chances, truth, counts = made(seed, *sizes)
    weights = pool_weights(chances, truth, counts)
    assert (weights >= 0).all() and weights.sum(0) == pytest.approx(1)
    for head in range(sizes[1]):
        seen = chances[:, head], truth[head], counts
        best = minimize(
            cross_entropy,
            np.full(sizes[0], 1 / sizes[0]),
            seen,
            method="SLSQP",
            bounds=[(0, 1)] * sizes[0],
            constraints={"type": "eq", "fun": lambda each: each.sum() - 1},
        )
        assert cross_entropy(weights[:, head], *seen) <= best.fun + 2e-4


def test_who_knows_a_label_gets_its_weight() -> None:
    random = np.random.default_rng(0)
    truth = random.random((2, 4000)) < 0.5
    knows, guesses = np.where(truth, 0.95, 0.05), random.random((2, 4000))
    chances = np.stack([np.stack([knows[0], guesses[0]]), np.stack([guesses[1], knows[1]])])
    weights = pool_weights(chances, truth, np.ones(4000))
    np.testing.assert_allclose(weights, [[1, 0], [0, 1]], atol=0.02)


@settings(max_examples=25)
@given(st.integers(0, 2**20), SIZES)
def test_the_order_of_the_members_and_of_the_voxels_makes_no_difference(seed: int, sizes: tuple[int, int, int]) -> None:
    chances, truth, counts = made(seed, *sizes)
    random = np.random.default_rng(seed + 1)
    members, voxels = random.permutation(sizes[0]), random.permutation(sizes[2])
    found = pool_weights(chances[members][..., voxels], truth[:, voxels], counts[voxels])
    np.testing.assert_allclose(found, pool_weights(chances, truth, counts)[members], atol=1e-6)


def test_a_voxel_that_counts_twice_is_there_twice() -> None:
    chances, truth, _ = made(3, 3, 2, 40)
    twice = pool_weights(
        np.concatenate([chances] * 2, -1)[..., :60], np.concatenate([truth] * 2, -1)[:, :60], np.ones(60)
    )
    counts = np.where(np.arange(40) < 20, 2.0, 1.0)
    np.testing.assert_allclose(pool_weights(chances, truth, counts), twice, atol=1e-9)


@given(st.integers(0, 2**20), st.integers(1, 7), st.integers(1, 5))
def test_whole_parts_sum_to_the_whole_and_are_near(seed: int, members: int, heads: int) -> None:
    weights = np.random.default_rng(seed).dirichlet(np.full(members, 0.3), heads).T
    shares = whole_shares(weights)
    assert (shares.sum(0) == WHOLE).all() and (shares >= 0).all()
    assert np.abs(shares / WHOLE - weights).max() <= 1 / WHOLE


def test_weights_are_told_by_name() -> None:
    pool = Pool(("a", "b"), np.array([[250, 1000], [750, 0]]), {})
    assert pool.named(("organ", "lesion")) == {"a": {"organ": 0.25, "lesion": 1.0}, "b": {"organ": 0.75, "lesion": 0.0}}
