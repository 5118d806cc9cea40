"""Patches whose cases lack channels, or from which they are withheld: exactly 0, told, and the same every time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from run_settings import SETTINGS
from short_training import train

from autoseg.configuration import Configuration, TrainingRules
from autoseg.core.missing import MissingChannels
from autoseg.errors import StoppedError
from autoseg.parts.augmentations import batchgenerators, none, standard
from autoseg.parts.inputs import presence
from autoseg.parts.inputs._encoding import joined
from autoseg.parts.networks import plain_unet
from autoseg.parts.normalizers import none as untouched
from autoseg.parts.optimizers import muon
from autoseg.plan import Plan
from autoseg.preprocessing.locations import Locations
from autoseg.run_folder import RunFolder
from autoseg.settings import resolve
from autoseg.training.batches import batches, training_sampler
from autoseg.training.cases import CaseInMemory
from autoseg.training.draws import Draws
from autoseg.training.process_group import ProcessGroup
from autoseg.training.state import TrainingState
from autoseg.training.step import Step

OFTEN = {name: 0.9 for name in vars(standard.Spec()) if name.endswith("_probability")} | {"mirror_probability": 0.5}
AUGMENTATIONS = (none.Spec(), standard.Spec(**OFTEN), batchgenerators.Spec(**OFTEN))
MISSING = MissingChannels({"T1": 0.3, "FLAIR": 0.3}, uniform=0.3)
FLAT = plain_unet.Spec((4, 8), ((3, 3), (3, 3)), ((1, 1), (2, 2)), (1, 1), (1,))


def in_two_channels(plan: Plan, **changes: Any) -> Plan:
    two = {"normalizers": (untouched.Spec(),) * 2, "missing": MISSING, "inputs": (presence.Spec(),)}
    configuration = replace(plan.configuration()[1], **(two | changes))
    return replace(plan, channels=("T1", "FLAIR"), configurations={plan.default: configuration})


def cases(contrasts: tuple[float, float] = (2.0, 2.0), count: int = 4, seed: int = 0) -> dict[str, CaseInMemory]:
    """A bright ball in noise, in both channels; the last case lacks the first."""
    random, found = np.random.default_rng(seed), {}
    for number in range(count):
        centre = random.integers(4, 11, (3, 1, 1, 1))
        labels = (((np.indices((16, 16, 16)) - centre) ** 2).sum(0) < 14).astype(np.uint8)
        image = 1 + random.standard_normal((2, *labels.shape)) * 0.4
        image += np.array(contrasts)[:, None, None, None] * labels
        absent = (0,) if number == count - 1 else ()
        image[list(absent)] = 0
        told = np.array([[[[number not in absent]]] for number in range(2)], np.uint8)
        extras = (np.broadcast_to(told, image.shape),)
        places = Locations.of({1: np.argwhere(labels)})
        found[f"case{number}"] = CaseInMemory(image.astype(np.float16), labels, places, extras, absent)
    return found


@pytest.mark.parametrize("augmentation", AUGMENTATIONS, ids=lambda spec: type(spec).__module__.rpartition(".")[2])
@pytest.mark.parametrize("flat", [False, True])
def test_what_is_missing_is_zero_for_the_network_and_told(small_plan: Plan, augmentation: Any, flat: bool) -> None:
    shape = {"patch_size": (8, 8), "network": FLAT} if flat else {}
    task = in_two_channels(small_plan, augmentation=augmentation, batch_size=4, **shape).task()
    given = cases()
    sampler, step = (
        training_sampler(given, sorted(given), task, 0),
        Step.of(task, resolve(SETTINGS), 0, torch.nn.Identity()),
    )
    seen = set()
    for number in range(12):
        inputs = step.augmented(sampler.batch(number), number)
        for key, image, told in zip(inputs.keys, inputs.images[:, :2], inputs.images[:, 2:]):
            there = [bool(channel.any()) for channel in image]
            assert any(there) and not (key == "case3" and there[0])
            for channel, expected in zip(told, there):
                assert (channel == float(expected)).all()
            seen.add((key == "case3", *there))
    assert seen == {(False, True, True), (False, True, False), (False, False, True), (True, False, True)}


def test_neighbouring_slices_of_a_missing_channel_are_zero(small_plan: Plan) -> None:
    changes = {"patch_size": (8, 8), "network": FLAT, "slices": 3, "inputs": (), "augmentation": standard.Spec()}
    task = in_two_channels(small_plan, batch_size=4, **changes).task()
    given = {key: replace(case, extras=()) for key, case in cases().items()}
    sampler, step = (
        training_sampler(given, sorted(given), task, 0),
        Step.of(task, resolve(SETTINGS), 0, torch.nn.Identity()),
    )
    whole = [step.augmented(sampler.batch(number), number).images for number in range(6)]
    there = torch.cat(whole).flatten(2).any(-1).view(-1, 2, 3)
    assert torch.equal(there.any(-1), there.all(-1)) and there.any((1, 2)).all()
    assert not there.all() and there.any(0).all()


def test_a_case_that_lacks_a_channel_is_zero_there_without_a_plan_for_it(small_plan: Plan) -> None:
    task = in_two_channels(small_plan, missing=None, inputs=(), augmentation=AUGMENTATIONS[1]).task()
    given = {key: replace(case, extras=()) for key, case in cases(count=1).items()}
    step = Step.of(task, resolve(SETTINGS), 0, torch.nn.Identity())
    images = step.augmented(training_sampler(given, sorted(given), task, 0).batch(3), 3).images
    assert not images[:, 0].any() and images[:, 1].any()


def test_nothing_else_is_drawn_otherwise(small_plan: Plan) -> None:
    """A training that was begun without goes on as it would have; a plan with it sees the same patches."""
    for augmentation in AUGMENTATIONS:
        task = in_two_channels(small_plan, augmentation=augmentation, missing=None, inputs=()).task()
        changed = in_two_channels(small_plan, augmentation=augmentation).task()
        for iteration in range(3):
            before, after = (Draws.of(each, 7).of_shard(iteration) for each in (task, changed))
            assert repr(before.params) == repr(after.params) and before.seed == after.seed
            assert before.missing == () and len(after.missing) == 2


def test_the_same_is_withheld_by_any_number_of_readers_and_processes(small_plan: Plan) -> None:
    task, given = in_two_channels(small_plan, batch_size=3, augmentation=standard.Spec()).task(), cases()

    def augmented(group: ProcessGroup, readers: int) -> list[torch.Tensor]:
        sampler = training_sampler(given, sorted(given), task, 0, group)
        step, source = Step.of(task, resolve(SETTINGS), 0, torch.nn.Identity(), group), batches(sampler, 0, readers, 1)
        found = [step.augmented(next(source), number).images for number in range(4)]
        source.close()
        return found

    whole = augmented(ProcessGroup(), 1)
    assert all(map(torch.equal, whole, augmented(ProcessGroup(), 3)))
    for expected, first, second in zip(whole, *(augmented(ProcessGroup(rank, 2), 2) for rank in range(2))):
        torch.testing.assert_close(torch.cat((first, second)), expected)


def weights(state: TrainingState) -> torch.Tensor:
    return torch.cat([weight.detach().flatten() for weight in state.network.parameters()])


def test_a_stopped_training_ends_bit_for_bit_as_one_that_was_not(small_plan: Plan, tmp_path: Any) -> None:
    plan = in_two_channels(small_plan, augmentation=standard.Spec(), training=TrainingRules(4, iterations_per_epoch=3))
    whole = train(plan, RunFolder(tmp_path / "whole"), 9, cases())
    with pytest.raises(StoppedError):
        train(plan, RunFolder(tmp_path / "stopped"), 9, cases(), stop=4)
    resumed = train(plan, RunFolder(tmp_path / "stopped"), 9, cases())
    assert resumed.iteration == 9 and torch.equal(weights(whole), weights(resumed))
    without = in_two_channels(small_plan, augmentation=standard.Spec(), missing=None)
    assert not torch.equal(weights(whole), weights(train(without, RunFolder(tmp_path / "other"), 9, cases())))


def dice(
    state: TrainingState, configuration: Configuration, given: dict[str, CaseInMemory], absent: tuple[int, ...]
) -> float:
    """Over whole cases, with these channels withheld."""
    common = total = 0
    state.network.eval()
    for case in given.values():
        image = torch.from_numpy(case.image.astype(np.float32))[None]
        there = torch.ones_like(image)
        image[:, list(absent)] = there[:, list(absent)] = 0
        with torch.inference_mode():
            found = state.network(joined(image, [there] if configuration.inputs else []))[0].argmax(1)[0].numpy()
        common += int((found * case.labels).sum())
        total += int(found.sum() + case.labels.sum())
    return 2 * common / total


@pytest.mark.slow
def test_a_network_trained_with_dropout_does_without_the_better_channel(small_plan: Plan, tmp_path: Any) -> None:
    network = plain_unet.Spec((8, 16), ((3, 3, 3),) * 2, ((1, 1, 1), (2, 2, 2)), (1, 1), (1,))
    changes = {
        "network": network,
        "optimizer": muon.Spec(),
        "training": TrainingRules(1, iterations_per_epoch=200),
        "patch_size": (12, 12, 12),
    }
    full = {key: case for key, case in cases((1.0, 4.0), 9).items() if not case.absent}
    unseen = {key: case for key, case in cases((1.0, 4.0), 9, seed=1).items() if not case.absent}
    scores = {}
    for name, missing in (("with", MissingChannels({"FLAIR": 0.5})), ("without", None)):
        plan = in_two_channels(small_plan, missing=missing, **changes)
        state = train(plan, RunFolder(tmp_path / name), 200, full)
        scores[name] = [dice(state, plan.configuration()[1], unseen, absent) for absent in ((), (1,))]
    assert min(scores["with"][0], scores["without"][0]) > 0.9
    assert scores["with"][1] > 0.75 and scores["with"][1] > scores["without"][1] + 0.3
