"""Inputs come in the order of their batches and are the same whenever they are made."""

from dataclasses import replace
from itertools import islice

import pytest
import torch
from tasks import task_of

from autoseg.parts.augmentations import standard
from autoseg.settings import RunSettings, resolve
from autoseg.training.batches import Batch
from autoseg.training.prefetch import Prefetch
from autoseg.training.state import start
from autoseg.training.step import Step

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]
OFTEN = {name: 0.7 for name in vars(standard.Spec()) if name.endswith("_probability")}


def made(shape):
    """Batches without end, each with values of its own."""
    number = 0
    while True:
        random = torch.Generator().manual_seed(number)
        targets = torch.randint(0, 2, (2, *shape), generator=random, dtype=torch.uint8)
        yield Batch(torch.randn(2, 1, *shape, generator=random), targets, (f"a{number}", f"b{number}"))
        number += 1


@pytest.mark.parametrize("device", DEVICES)
def test_inputs_are_those_of_their_iteration_whenever_they_were_made(small_plan, device):
    settings = RunSettings(device=device, threads=1, precision="float32")
    configuration = replace(small_plan.configuration()[1], augmentation=standard.Spec(**OFTEN))
    shape, resolved = configuration.augmentation.loaded_shape(configuration.patch_size), resolve(settings)
    state = start(task_of(small_plan, configuration), settings)
    step = Step.of(task_of(small_plan, configuration), resolved, 0, state.network)
    expected = [step.augmented(batch, 5 + index) for index, batch in enumerate(islice(made(shape), 4))]
    ahead = Prefetch(made(shape), step.augmented, 5, resolved.device)
    for inputs in expected:
        found = ahead.take()
        assert step(state, found, 0.0, ahead.prepare) > 0
        ahead.prepare()  # once more changes nothing
        assert (found.keys, found.seed) == (inputs.keys, inputs.seed)
        assert torch.equal(found.images, inputs.images) and torch.equal(found.targets, inputs.targets)


def test_a_batch_for_which_memory_did_not_suffice_is_not_lost(small_plan):
    configuration = replace(small_plan.configuration()[1], augmentation=standard.Spec(**OFTEN))
    shape, resolved = configuration.augmentation.loaded_shape(configuration.patch_size), resolve(RunSettings("cpu"))
    step = Step.of(task_of(small_plan, configuration), resolved, 0, torch.nn.Identity())
    expected, fails = step.augmented(next(made(shape)), 5), [True, False]

    def augmented(batch, iteration):
        if fails.pop(0):
            raise torch.OutOfMemoryError
        return step.augmented(batch, iteration)

    ahead = Prefetch(made(shape), augmented, 5, resolved.device)
    with pytest.raises(torch.OutOfMemoryError):
        ahead.take()
    found = ahead.take()
    assert found.keys == expected.keys and torch.equal(found.images, expected.images)
