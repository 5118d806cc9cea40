"""One step, whatever augmentation, alone or as one of several processes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from autoseg.parts.augmentations import batchgenerators, none, standard
from autoseg.settings import RunSettings, resolve
from autoseg.training.batches import Batch
from autoseg.training.state import start
from autoseg.training.step import Step
from autoseg.training.team import Team

SETTINGS = RunSettings(device="cpu", threads=1, precision="float32")
OFTEN = {name: 0.7 for name in vars(standard.Spec()) if name.endswith("_probability")} | {"mirror_probability": 0.5}
AUGMENTATIONS = (none.Spec(), standard.Spec(**OFTEN), batchgenerators.Spec(**OFTEN))


@pytest.mark.parametrize("augmentation", AUGMENTATIONS, ids=lambda spec: type(spec).__module__.rpartition(".")[2])
@pytest.mark.parametrize("with_prior", [False, True])
def test_the_shares_of_two_processes_are_augmented_as_the_whole_batch(small_plan, augmentation, with_prior):
    configuration = replace(
        small_plan.configuration()[1],
        augmentation=augmentation,
        batch_size=3,
        previous="3d_lowres" if with_prior else None,
    )
    shape = augmentation.loaded_shape(configuration.patch_size)
    random = np.random.default_rng(0)
    images = torch.from_numpy(random.standard_normal((3, 1, *shape)).astype(np.float32))
    targets = torch.from_numpy(random.integers(0, 2, (3, *shape)).astype(np.uint8))
    prior = torch.from_numpy(random.integers(0, 2, (3, *shape)).astype(np.uint8)) if with_prior else None

    def augmented(team):
        share = slice(team.share(3).start, team.share(3).stop)
        batch = Batch(images[share], targets[share], ("a", "b", "c"), None if prior is None else prior[share])
        step = Step.of(small_plan, configuration, resolve(SETTINGS), 0, torch.nn.Identity(), team)
        inputs = step.augmented(batch, 5)
        return inputs.images, inputs.targets

    whole, parts = augmented(Team()), [augmented(Team(rank, 2)) for rank in range(2)]
    for expected, first, second in zip(whole, *parts):
        torch.testing.assert_close(torch.cat((first, second)), expected)


@pytest.mark.parametrize("augmentation", AUGMENTATIONS, ids=lambda spec: type(spec).__module__.rpartition(".")[2])
def test_a_step_with_any_augmentation_changes_the_weights(small_plan, augmentation):
    configuration = replace(small_plan.configuration()[1], augmentation=augmentation)
    shape = augmentation.loaded_shape(configuration.patch_size)
    state = start(small_plan, configuration, SETTINGS)
    before = next(state.network.parameters()).clone()
    step = Step.of(small_plan, configuration, resolve(SETTINGS), 0, state.network)
    batch = Batch(torch.randn(2, 1, *shape), torch.ones(2, *shape, dtype=torch.uint8), ("a", "b"))
    assert step(state, step.augmented(batch, 0), 1.0) > 0
    assert not torch.equal(next(state.network.parameters()), before)
