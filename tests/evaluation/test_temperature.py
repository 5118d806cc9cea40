"""Temperatures are those that make the reference likeliest; nobody is judged with what was learned from them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, softmax

from autoseg.evaluation.temperature import (
    GRID,
    ONE,
    held_out,
    learned,
    likelihood,
    likelihoods_of_exclusive,
    likelihoods_of_region,
    lowest,
    names_with,
)


def kept(chances: np.ndarray) -> np.ndarray:
    """In 8 bits."""
    return np.rint(chances * 255) / 255


def drawn(temperatures: list[float], voxels: int = 40_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities (heads, voxels) of logits that are too large by the temperature of the label that they decide for;
    truths, and decisions."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 1.2, (len(temperatures), voxels))
    decided = logits.argmax(0)
    truth = (softmax(logits, 0).cumsum(0) < random.random(voxels)).sum(0)
    return kept(softmax(logits * np.array(temperatures)[decided], 0)), truth, decided


def test_the_grid_holds_one() -> None:
    assert GRID[0] == pytest.approx(0.2) and GRID[-1] == pytest.approx(5) and GRID[ONE] == pytest.approx(1, abs=1e-12)


def test_likelihoods_by_hand() -> None:
    chances = np.array([[0.7, 0.25, 0.25, 1.0, 1.0], [0.2, 0.75, 0.75, 0.0, 0.0], [0.1, 0.0, 0.0, 0.0, 0.0]])
    found = likelihoods_of_exclusive(chances, np.array([1, 0, 2, 0, 2]), chances.argmax(0))
    # the first voxel's label has 0.2, the second's 0.25; of the third 8 bits do not tell; the others are sure
    assert found[0, ONE] == pytest.approx(-np.log(0.2))
    assert found[1, ONE] == pytest.approx(-np.log(0.25))
    assert not found[2].any()
    powers = np.array([0.7, 0.2, 0.1]) ** (1 / GRID[-1])
    assert found[0, -1] == pytest.approx(-np.log(powers[1] / powers.sum()))


def test_likelihoods_of_many_labels_are_those_of_the_ones_that_a_voxel_may_have() -> None:
    chances, truth, decided = drawn([1.0, 1.0, 1.0], 500)
    more = np.concatenate([chances, np.zeros((40, 500))])
    found = likelihoods_of_exclusive(more, truth, decided)
    np.testing.assert_allclose(found[:3], likelihoods_of_exclusive(chances, truth, decided))
    assert not found[3:].any()


def test_likelihoods_of_regions_by_hand() -> None:
    chances, belongs = np.array([0.8, 0.8, 0.0, 1.0, 1.0]), np.array([True, False, False, True, False])
    found = likelihoods_of_region(chances, belongs)
    assert found[ONE] == pytest.approx(-np.log(0.8) - np.log(0.2))  # the others are sure
    softened = expit(np.log(4) / 5)
    assert found[-1] == pytest.approx(-np.log(softened) - np.log(1 - softened))


@pytest.mark.slow
@pytest.mark.parametrize("temperatures", [[1.0, 1.0, 1.0], [2.0, 0.5, 1.5], [0.6, 3.0, 1.0]])
def test_planted_temperatures_are_found(temperatures: list[float]) -> None:
    """Those of seven patients, though 8 bits say little of what is nearly sure."""
    tables = np.stack([likelihoods_of_exclusive(*drawn(temperatures, seed=seed)) for seed in range(7)])
    np.testing.assert_allclose(learned(tables, np.arange(7)), temperatures, rtol=0.08)


def test_a_planted_temperature_of_a_region_is_found() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(0, 1.5, 50_000)
    belongs = random.random(50_000) < expit(logits)
    assert lowest(likelihoods_of_region(kept(expit(1.7 * logits)), belongs)) == pytest.approx(1.7, rel=0.05)


def test_the_parabola_finds_what_a_search_finds() -> None:
    random = np.random.default_rng(1)
    logits = random.normal(0, 1, (3, 2000)).clip(-2, 2)  # no chance is below 1/510, even at 1/5
    truth = (softmax(logits / 1.37, 0).cumsum(0) < random.random(2000)).sum(0)
    table = likelihoods_of_exclusive(softmax(logits, 0), truth, logits.argmax(0)).sum(0)
    search = minimize_scalar(
        lambda each: -log_softmax(logits / each, 0)[truth, range(2000)].sum(), bounds=(0.2, 5), method="bounded"
    )
    assert lowest(table) == pytest.approx(search.x, rel=5e-3)


def test_what_asks_for_more_gets_the_bound_and_what_asks_for_nothing_stays() -> None:
    assert lowest(np.linspace(1, 0, len(GRID))) == 5 and lowest(np.linspace(0, 1, len(GRID))) == pytest.approx(0.2)
    assert lowest(np.zeros(len(GRID))) == 1
    assert names_with(np.array([5.0000001, 0.19999, 1.23456]), ["a", "b", "c"]) == {"a": 5, "b": 0.2, "c": 1.235}


def test_heads_of_few_patients_take_the_temperature_of_all() -> None:
    tables = np.stack([likelihoods_of_exclusive(*drawn([2.0, 2.0, 1.0], 4000, seed)) for seed in range(6)])
    tables[4:, 2] = 0
    together = lowest(tables.sum((0, 1)))
    assert learned(tables, np.arange(6))[2] == together
    assert learned(tables, np.array([0, 0, 0, 1, 2, 3])).tolist() == [together] * 3  # of four patients
    assert lowest(tables[:, 2].sum(0)) != pytest.approx(together, rel=0.05)


def test_no_case_is_judged_with_what_was_learned_from_it() -> None:
    """Each fold has a temperature of its own; a case gets that of the other one."""
    planted = [1.0] * 6 + [3.0] * 6
    tables = np.stack([likelihoods_of_exclusive(*drawn([each] * 2, 4000, seed)) for seed, each in enumerate(planted)])
    own = held_out(tables, np.arange(12), np.repeat([0, 1], 6))
    np.testing.assert_allclose(own[:6], 3, rtol=0.1)
    np.testing.assert_allclose(own[6:], 1, rtol=0.1)
    assert likelihood(tables, own) > likelihood(tables, np.ones((12, 2))) * 0.99
    best = np.array([[each] * 2 for each in planted])
    assert likelihood(tables, best) < likelihood(tables, np.ones((12, 2)))
    assert likelihood(tables, np.ones((12, 2))) == pytest.approx(tables[..., ONE].sum())
