"""A few real steps on noise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tasks import task_of

from autoseg.core.process import Stopwatch
from autoseg.parts.augmentations import standard
from autoseg.parts.inputs import prior
from autoseg.parts.networks._unet import UNet
from autoseg.plan import Plan
from autoseg.preprocessing.locations import Locations
from autoseg.settings import RunSettings
from autoseg.training.batches import training_sampler
from autoseg.training.cases import CaseInMemory
from autoseg.training.step import Step
from autoseg.training.timed_steps import made_up_batch, time_steps


@pytest.mark.parametrize("inputs", [(), (prior.Spec("3d_lowres"),)])
def test_a_made_up_batch_is_like_one_that_was_read(small_plan: Plan, inputs: tuple[prior.Spec, ...]) -> None:
    _, configuration = small_plan.configuration()
    configuration = replace(configuration, augmentation=standard.Spec(), inputs=inputs)
    made_up = made_up_batch(task_of(small_plan, configuration))
    image, labels = np.zeros((1, 30, 30, 30), np.float16), np.zeros((30, 30, 30), np.uint8)
    case = CaseInMemory(image, labels, Locations.of({1: np.ones((1, 3), int)}), (labels[None],) * len(inputs))
    read = training_sampler({"a": case}, ["a"], task_of(small_plan, configuration), 0).batch(0)
    assert len(made_up.extras) == len(read.extras) == len(inputs)
    everything = zip((made_up.images, made_up.targets, *made_up.extras), (read.images, read.targets, *read.extras))
    for ours, theirs in everything:
        assert len(ours) == len(theirs) == configuration.batch_size
        for one, other in zip(ours, theirs):
            assert (one.dtype, one.dim()) == (other.dtype, other.dim())
            assert all(largest >= edge for largest, edge in zip(one.shape, other.shape))  # as large as may be read
    assert all(target.unique().tolist() == [0, 1] for target in made_up.targets)


@pytest.mark.slow
@pytest.mark.parametrize(("disturbed", "expected"), [(False, 3.0), (True, 1.5)])
def test_the_mean_of_real_steps_counts_and_beside_other_programs_that_of_the_quicker_half(
    small_plan: Plan, monkeypatch: pytest.MonkeyPatch, disturbed: bool, expected: float
) -> None:
    """Each step is taken; that the first takes 5 seconds, the second 4 and so on is only what the watch says."""
    steps, taken = iter((5.0, 4.0, 2.0, 1.0)), Step.__call__
    calls = []

    def counted(step: Step, *arguments: Any) -> Any:
        calls.append(1)
        return taken(step, *arguments)

    monkeypatch.setattr(Step, "__call__", counted)
    monkeypatch.setattr(Stopwatch, "seconds", lambda _: next(steps))
    monkeypatch.setattr(Stopwatch, "disturbed", lambda _: disturbed)
    monkeypatch.setattr(Stopwatch, "elapsed", lambda _: 100.0 * (len(calls) > 4))
    seen = time_steps(small_plan.task(), RunSettings(device="cpu", threads=1))
    assert seen is not None and seen.seconds == expected and len(calls) == 1 + 4  # one warms up


@pytest.mark.slow
def test_a_step_for_which_memory_does_not_suffice_is_told_and_not_computed_in_parts(
    small_plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = UNet.forward
    settings, configuration = RunSettings(device="cpu", threads=1), small_plan.configuration()[1]
    for most, fits in ((0, False), (1, False), (2, True)):

        def limited(network: UNet, images: torch.Tensor, most: int = most) -> list[torch.Tensor]:
            if len(images) > most:
                raise torch.OutOfMemoryError
            return forward(network, images)

        monkeypatch.setattr(UNet, "forward", limited)
        assert (time_steps(task_of(small_plan, configuration), settings) is not None) == fits
