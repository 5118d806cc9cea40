"""Temperatures soften or sharpen what is between 1/510 and certainty, and never change what is decided."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
import torch
from small_models import EXCLUSIVE, MANY_LABELS, REGIONS

from autoseg.core.labels import ExclusiveLabels, Labels
from autoseg.inference.temperature import calibrated


def test_exclusive_labels_take_the_temperature_of_the_one_that_is_decided() -> None:
    chances = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1]])
    found = calibrated(chances.log() + 5, EXCLUSIVE, {"background": 2.0, "organ": 0.5}).softmax(-1)
    roots, squares = chances[0].sqrt(), chances[1] ** 2
    torch.testing.assert_close(found, torch.stack([roots / roots.sum(), squares / squares.sum()]))


def test_each_region_has_its_own() -> None:
    logits = torch.tensor([[1.0, -2.0]])
    torch.testing.assert_close(calibrated(logits, REGIONS, {"core": 4.0}), torch.tensor([[1.0, -0.5]]))


def test_without_temperatures_nothing_is_computed() -> None:
    logits = torch.randn(4, 3)
    assert calibrated(logits, EXCLUSIVE, {}) is logits


def test_what_eight_bits_cannot_tell_is_shifted() -> None:
    of_two = ExclusiveLabels({"background": 0, "organ": 1})
    edge = log(1 / 510)
    found = calibrated(torch.tensor([[0.0, edge - 3.0]]), of_two, {"background": 2.0})
    # a textbook's would be (edge - 3) / 2
    torch.testing.assert_close(found[0, 1] - found[0, 0], torch.tensor(edge / 2 - 3), atol=2e-3, rtol=0)
    torch.testing.assert_close(
        calibrated(torch.tensor([[9.0, -9.0]]), REGIONS, {"whole": 2.0, "core": 0.5}),
        torch.tensor([[9 + edge / 2, -9 + edge]]),
    )


def test_a_hundred_labels_do_not_make_sure_background_unsure() -> None:
    many = ExclusiveLabels({"background": 0, **{f"organ {number}": number for number in range(1, 118)}})
    logits = torch.zeros(1, 118)
    logits[0, 0] = 14
    dividing = (logits / 2).softmax(-1)[0, 0]
    found = calibrated(logits, many, {"background": 2.0}).softmax(-1)[0, 0]
    assert dividing < 0.91 and found > 0.99


@pytest.mark.parametrize("labels", [EXCLUSIVE, REGIONS, MANY_LABELS], ids=["exclusive", "regions", "many"])
def test_decisions_never_change(labels: Labels) -> None:
    random = np.random.default_rng(0)
    logits = torch.from_numpy(random.normal(0, 6, (20_000, labels.heads)))
    for _ in range(5):
        temperatures = {name: float(each) for name, each in zip(labels.head_names, random.uniform(0.2, 5, 20))}
        found = calibrated(logits, labels, temperatures)
        assert torch.equal(labels.winners(found), labels.winners(logits))
        assert torch.isfinite(found).all()


def test_probabilities_of_none_stay_none() -> None:
    found = calibrated(torch.tensor([[0.7, 0.3, 0.0]]).log(), EXCLUSIVE, {"background": 3.0}).softmax(-1)
    assert found[0, 2] == 0 and torch.isfinite(found).all()
