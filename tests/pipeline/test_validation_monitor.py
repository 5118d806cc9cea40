"""What early stopping looks at: whole cases, of whose logits a few slices exist at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from autoseg.core.inputs import InputSpec
from autoseg.core.labels import ExclusiveLabels, Labels, RegionLabels
from autoseg.inference.sliding_window import SlidingWindow
from autoseg.parts.networks import plain_unet
from autoseg.pipeline.validation_monitor import overlap, validation_monitor
from autoseg.plan import Plan
from autoseg.preprocessing.prepare import class_locations
from autoseg.settings import Resolved, RunSettings
from autoseg.training.cases import CaseInMemory
from autoseg.training.online import overlap_counts

CPU = Resolved(torch.device("cpu"), None)
MANY = ExclusiveLabels({"background": 0} | {f"label {index}": index for index in range(1, 40)}, ignore=99)
REGIONS = RegionLabels({"whole": (1, 2), "core": (2,)}, (1, 2), ignore=9)


def sweep(labels: Labels, image: np.ndarray, *, whole: bool) -> SlidingWindow:
    """Of a network with random weights and four feature maps, in patches of 8 x 16 x 16."""
    torch.manual_seed(0)
    strides = ((1, 1, 1), (2, 2, 2))
    network = (
        plain_unet.Spec((4, 8), ((3, 3, 3),) * 2, strides, (1, 1), (1,))
        .build(InputSpec.of_image(1), labels.heads)
        .eval()
    )
    return SlidingWindow(
        [network], image, (8, 16, 16), heads=labels.heads, batch_size=2, mirror_axes=(), run=CPU, whole=whole
    )


@pytest.mark.parametrize("labels", [MANY, REGIONS], ids=["exclusive", "regions"])
def test_counts_of_a_few_slices_at_a_time_are_those_of_the_whole_image(labels: Labels) -> None:
    random = np.random.default_rng(0)
    image = random.standard_normal((1, 21, 20, 18)).astype(np.float32)
    targets = torch.from_numpy(random.integers(0, len(labels.values) + 1, image.shape[1:]).astype(np.int32))
    expected = overlap_counts(sweep(labels, image, whole=True).all()[None], targets[None], labels)
    found = overlap(sweep(labels, image, whole=False), targets, labels)
    torch.testing.assert_close(found.double(), expected.double(), rtol=0, atol=2)  # logits that are nearly equal
    assert expected[0].sum() > 20


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> dict[int, int]:
    """By the height of an image, the bytes of sums that existed at most."""
    most, advance = dict[int, int](), SlidingWindow._advance

    def watched(one: SlidingWindow) -> None:
        advance(one)
        now = sum(block.values.untyped_storage().nbytes() for block in one._window._blocks.values())
        most[one.shape[0]] = max(most.get(one.shape[0], 0), now)

    monkeypatch.setattr(SlidingWindow, "_advance", watched)
    return most


def test_what_exists_of_a_case_does_not_grow_with_its_height(held: dict[int, int]) -> None:
    for height in (40, 80):
        image = np.random.default_rng(1).standard_normal((1, height, 20, 18)).astype(np.float32)
        overlap(sweep(MANY, image, whole=False), torch.zeros(height, 20, 18, dtype=torch.int32), MANY, slab_bytes=1)
    assert held[40] == held[80]


def test_a_watched_case_of_many_labels_is_never_there_in_logits(small_plan: Plan, held: dict[int, int]) -> None:
    plan = replace(small_plan, labels=MANY)
    labels = np.random.default_rng(0).integers(0, 40, (40, 16, 16)).astype(np.uint8)
    image = np.random.default_rng(1).standard_normal((1, *labels.shape)).astype(np.float16)
    case = CaseInMemory(image, labels, class_locations(labels, MANY))
    settings = RunSettings(device="cpu", threads=1, precision="float32")
    assert 0 < validation_monitor({"a": case}, ["a"], plan.task(), settings)(plan.task().network()) < 0.2
    assert 0 < held[40] <= 4 * labels.size * 4  # of four feature maps; 40 labels take ten times as much
