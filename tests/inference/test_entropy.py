"""Entropy and disagreement are those of the textbook, in bits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import entropy as textbook

from autoseg.core.labels import ExclusiveLabels, Labels, RegionLabels
from autoseg.inference.entropy import disagreement, disagreement_between, entropy, summand, sums_per_voxel

EXCLUSIVE = ExclusiveLabels({"background": 0, "a": 1, "b": 2, "c": 3})
REGIONS = RegionLabels({"whole": (1, 2), "core": (2,)}, class_order=(1, 2))
CERTAIN = 60.0


def bits(chances: np.ndarray, labels: Labels) -> np.ndarray:
    """(..., heads) to (..., 1), or (..., heads) of regions."""
    if labels is REGIONS:
        return textbook(np.stack((chances, 1 - chances)), base=2, axis=0)
    return textbook(chances, base=2, axis=-1)[..., None]


def test_entropy_is_in_bits_whatever_the_number_of_labels() -> None:
    logits = torch.tensor([[0.0, 0, 0, 0], [CERTAIN, 0, 0, 0], [CERTAIN, CERTAIN, 0, 0]])
    torch.testing.assert_close(entropy(logits, EXCLUSIVE), torch.tensor([2.0, 0.0, 1.0]))
    of_two = ExclusiveLabels({"background": 0, "a": 1})
    torch.testing.assert_close(entropy(torch.zeros(1, 2), of_two), torch.ones(1))


def test_the_region_that_is_least_sure_counts() -> None:
    logits = torch.tensor([[0.0, CERTAIN], [-CERTAIN, CERTAIN], [CERTAIN, 1.0]])
    expected = torch.tensor([1.0, 0.0, textbook([0.7310586, 0.2689414], base=2)], dtype=torch.float32)
    torch.testing.assert_close(entropy(logits, REGIONS), expected)


@pytest.mark.parametrize("labels", [EXCLUSIVE, REGIONS], ids=["exclusive", "regions"])
def test_disagreement_is_mutual_information(labels: Labels) -> None:
    random = np.random.default_rng(0)
    logits = torch.from_numpy(random.normal(size=(5, 200, labels.heads)) * 3)
    weights = random.dirichlet(np.ones(5))
    chances = (logits.sigmoid() if labels is REGIONS else logits.softmax(-1)).numpy()
    mean = np.einsum("m,m...->...", weights, chances)
    alone = np.einsum("m,m...->...", weights, bits(chances, labels))
    expected = (bits(mean, labels) - alone).max(-1)
    summed = sum(weight * summand(each, labels) for weight, each in zip(weights, logits))
    assert summed.shape[-1] == sums_per_voxel(labels)
    np.testing.assert_allclose(disagreement(summed, labels).numpy(), expected, atol=1e-6)
    between = disagreement_between([torch.from_numpy(each) for each in chances], weights.tolist(), labels)
    np.testing.assert_allclose(between.numpy(), expected, atol=1e-6)


def test_members_that_are_sure_of_the_opposite_disagree_by_a_bit_and_alike_ones_by_none() -> None:
    one, other = torch.tensor([[CERTAIN, 0.0, 0, 0]]), torch.tensor([[0.0, CERTAIN, 0, 0]])
    opposite = (summand(one, EXCLUSIVE) + summand(other, EXCLUSIVE)) / 2
    torch.testing.assert_close(disagreement(opposite, EXCLUSIVE), torch.ones(1))
    unsure = summand(torch.zeros(1, 4), EXCLUSIVE)
    torch.testing.assert_close(disagreement(unsure, EXCLUSIVE), torch.zeros(1))
