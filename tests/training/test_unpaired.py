"""Unpaired modalities in training: norms of a modality that a batch lacks stay where they are, bit by bit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from run_settings import SETTINGS
from short_training import train

from autoseg.configuration import TrainingRules
from autoseg.core.missing import MissingChannels
from autoseg.errors import StoppedError
from autoseg.parts.augmentations import standard
from autoseg.parts.inputs import presence
from autoseg.parts.inputs._encoding import joined
from autoseg.parts.networks import plain_unet, unpaired_unet
from autoseg.parts.normalizers import none as untouched
from autoseg.parts.optimizers import adamw, muon, sgd
from autoseg.plan import Plan
from autoseg.preprocessing.locations import Locations
from autoseg.run_folder import RunFolder
from autoseg.settings import resolve
from autoseg.training.cases import CaseInMemory
from autoseg.training.state import TrainingState, start
from autoseg.training.step import Inputs, Step

SIZES: Any = ((8, 16), ((3, 3, 3),) * 2, ((1, 1, 1), (2, 2, 2)), (1, 1), (1,))
ONE_OF = MissingChannels({"CT": 0.0, "MR": 0.0}, exclusive=True)
CONTRASTS = (2.0, -2.0)


def planned(plan: Plan, **changes: Any) -> Plan:
    two = {"normalizers": (untouched.Spec(),) * 2, "missing": ONE_OF, "inputs": (presence.Spec(),)}
    network = unpaired_unet.Spec(*SIZES)
    configuration = replace(plan.configuration()[1], **(two | {"network": network} | changes))
    return replace(plan, channels=("CT", "MR"), configurations={plan.default: configuration})


def cases(modalities: Sequence[int], seed: int = 0) -> dict[str, CaseInMemory]:
    """Two balls in noise, in one of the channels. One is labelled: the bright one in CT, the dark one in MR."""
    random, found = np.random.default_rng(seed), {}
    for number, modality in enumerate(modalities):
        centres = random.integers(4, 12, (2, 3, 1, 1, 1))
        centres[:, 0, 0, 0, 0] = random.permutation((4, 11))  # so that they do not touch
        labels, other = ((((np.indices((16, 16, 16)) - centre) ** 2).sum(0) < 14).astype(np.int8) for centre in centres)
        image = np.zeros((2, *labels.shape))
        image[modality] = random.standard_normal(labels.shape) * 0.4 + CONTRASTS[modality] * (labels - other)
        there = np.array([[[[channel == modality]]] for channel in range(2)], np.uint8)
        places = Locations.of({1: np.argwhere(labels)})
        extras = (np.broadcast_to(there, image.shape),)
        found[f"case{number}"] = CaseInMemory(
            image.astype(np.float16), labels.astype(np.uint8), places, extras, (1 - modality,)
        )
    return found


def inputs(modalities: Sequence[int], seed: int) -> Inputs:
    """A batch with a patch of each modality that is named."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.zeros(len(modalities), 4, 8, 8, 8)
    for row, modality in zip(images, modalities):
        row[modality] = torch.randn(8, 8, 8, generator=generator)
        row[2 + modality] = 1
    targets = torch.randint(0, 2, (len(modalities), 8, 8, 8), generator=generator)
    return Inputs(images, targets, ("a",) * len(modalities), seed)


def copied(weights: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    return [weight.detach().clone() for weight in weights]


@pytest.mark.parametrize("optimizer", [sgd.Spec(weight_decay=0.1), adamw.Spec(weight_decay=0.1), muon.Spec()])
@pytest.mark.parametrize("parts", [1, 2])
def test_norms_of_a_modality_that_no_patch_has_stay_bit_by_bit(small_plan: Plan, optimizer: Any, parts: int) -> None:
    """Whatever momentum they have and whatever decays; the others move."""
    task = planned(small_plan, optimizer=optimizer).task()
    state = start(task, SETTINGS)
    state.parts = parts
    step = Step.of(task, resolve(SETTINGS), 0, state.network)
    ct, mr = state.network.alternatives  # type: ignore[union-attr,misc]
    first = copied(mr)
    for iteration, modalities in enumerate(((0, 0), (0, 0), (0, 1), (1, 0), (0, 0), (1, 1))):
        before = copied(ct), copied(mr)
        assert step(state, inputs(modalities, iteration), 0.1) is not None
        for number, weights in enumerate((ct, mr)):
            same = [torch.equal(*pair) for pair in zip(before[number], weights)]
            assert all(same) if number not in modalities else not any(same)
        if iteration == 1:
            assert all(map(torch.equal, first, mr))


def test_a_network_without_alternatives_is_updated_by_a_gradient_of_zero_as_before(small_plan: Plan) -> None:
    network = plain_unet.Spec(*SIZES)
    task = planned(small_plan, network=network, optimizer=sgd.Spec(weight_decay=0.5)).task()
    state = start(task, SETTINGS)
    step, before = Step.of(task, resolve(SETTINGS), 0, state.network), copied([*state.network.parameters()])
    step(state, inputs((0, 0), 0), 0.1)
    unseen = dict(zip((name for name, _ in state.network.named_parameters()), before))
    kernel = state.network.get_parameter("network.encoder.0.0.convolution.weight")
    was = unseen["network.encoder.0.0.convolution.weight"]
    assert not kernel.grad[:, 1].any(), "the channel that no patch has"  # type: ignore[index]
    assert (kernel[:, 1].abs() < was[:, 1].abs()).all()


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", [sgd.Spec(), muon.Spec()])
def test_a_stopped_training_ends_bit_for_bit_as_one_that_was_not(
    small_plan: Plan, tmp_path: Any, optimizer: Any
) -> None:
    """Also where the optimizer remembers nothing yet of a modality's norms."""
    rules = TrainingRules(4, iterations_per_epoch=3)
    plan = planned(small_plan, augmentation=standard.Spec(), training=rules, optimizer=optimizer)
    given = cases((0, 0, 1, 0))
    whole = train(plan, RunFolder(tmp_path / "whole"), 9, given)
    for stop in (1, 5):
        folder = RunFolder(tmp_path / f"stopped_{stop}")
        with pytest.raises(StoppedError):
            train(plan, folder, 9, given, stop=stop)
        resumed = train(plan, folder, 9, given)
        assert resumed.iteration == 9
        assert all(map(torch.equal, whole.network.parameters(), resumed.network.parameters()))


def dice(state: TrainingState, given: dict[str, CaseInMemory], modality: int) -> float:
    """Over whole cases of one modality."""
    common = total = 0
    state.network.eval()
    for case in given.values():
        if case.image[modality].any():
            arrays = [torch.from_numpy(array.astype(np.float32))[None] for array in (case.image, *case.extras)]
            with torch.inference_mode():
                found = state.network(joined(arrays[0], arrays[1:]))[0].argmax(1)[0].numpy()
            common += int((found * case.labels).sum())
            total += int(found.sum() + case.labels.sum())
    return 2 * common / total


@pytest.mark.slow
def test_one_network_learns_what_looks_otherwise_in_each_modality(small_plan: Plan, tmp_path: Any) -> None:
    """What is labelled in one looks as what is not in the other: norms that both share cannot know."""
    rules, count = TrainingRules(1, iterations_per_epoch=120), 120
    more: dict[str, Any] = {"optimizer": muon.Spec(), "training": rules, "patch_size": (12, 12, 12)}
    given, unseen = cases((0, 1) * 4), cases((0, 1) * 3, seed=1)
    state = train(planned(small_plan, **more), RunFolder(tmp_path / "own"), count, given)
    own = [dice(state, unseen, modality) for modality in (0, 1)]
    assert min(own) > 0.75
    ct, mr = state.network.alternatives  # type: ignore[union-attr,misc]
    assert not any(map(torch.equal, ct, mr)), "each has its own"
    one = replace(small_plan.configuration()[1], network=plain_unet.Spec(*SIZES), **more)
    plan = replace(small_plan, configurations={small_plan.default: one})
    state = train(plan, RunFolder(tmp_path / "shared"), count, {key: summed(case) for key, case in given.items()})
    for modality in (0, 1):
        alone = {key: summed(case) for key, case in unseen.items() if case.image[modality].any()}
        assert dice(state, alone, 0) < own[modality] - 0.1


def summed(case: CaseInMemory) -> CaseInMemory:
    """As if both modalities were one channel."""
    return replace(case, image=case.image.sum(0, keepdims=True), extras=(), absent=())
