"""Adversarial training: a discriminator that learns beside the network, is saved with it and counted with it."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from run_settings import SETTINGS
from short_training import train
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot

from autoseg.changes import changed
from autoseg.configuration import TrainingRules
from autoseg.core.labels import ExclusiveLabels, RegionLabels
from autoseg.core.samples import LABELLED
from autoseg.errors import StoppedError, TrainingError
from autoseg.parts.augmentations import standard
from autoseg.parts.networks import plain_unet
from autoseg.parts.objectives import adversarial, supervised
from autoseg.parts.objectives._adversarial import Adversarial
from autoseg.plan import Plan
from autoseg.preprocessing.locations import Locations
from autoseg.run_folder import RunFolder
from autoseg.settings import resolve
from autoseg.training.accounting import step_memory
from autoseg.training.cases import CaseInMemory
from autoseg.training.state import TrainingState, resume, save, start
from autoseg.training.step import Inputs, Step

SPEC = adversarial.Spec(weight=0.5, features=(4, 6), learning_rate=0.01)
IGNORED = ExclusiveLabels({"background": 0, "a": 1}, ignore=9)
REGIONS = RegionLabels({"whole": (1, 2), "core": (2,)}, (1, 2))


def with_discriminator(plan: Plan, spec: Any = SPEC, labels: Any = None, **changes: Any) -> Plan:
    changes = {"objective": spec, "training": TrainingRules(4, iterations_per_epoch=3)} | changes
    configuration = replace(plan.configuration()[1], **changes)
    return replace(plan, labels=labels or plan.labels, configurations={plan.default: configuration})


def begun(plan: Plan) -> tuple[TrainingState, Step]:
    state = start(plan.task(), SETTINGS)
    return state, Step.of(plan.task(), resolve(SETTINGS), 0, state.network)


def inputs(patches: int = 2, size: tuple[int, ...] = (8, 8, 8), labels: int = 2) -> Inputs:
    random = torch.Generator().manual_seed(0)
    targets = torch.randint(0, labels, (patches, *size), generator=random, dtype=torch.uint8)
    return Inputs(torch.randn(patches, 1, *size, generator=random), targets, ("a",) * patches, 0)


def discriminator(state: TrainingState) -> Tensor:
    assert isinstance(state.objective, Adversarial)
    return flat(state.objective.discriminator)


def flat(module: torch.nn.Module) -> Tensor:
    return torch.cat([weight.detach().flatten() for weight in module.parameters()])


def tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in torch.utils._pytree.tree_leaves(tree) if isinstance(leaf, Tensor)]


def test_both_networks_learn_what_the_formula_says(small_plan: Plan) -> None:
    """The gradients of one step, beside those of the two losses written out."""
    state, step = begun(with_discriminator(small_plan))
    objective = state.objective
    assert isinstance(objective, Adversarial)
    given, network, judge = inputs(), copy.deepcopy(state.network), copy.deepcopy(objective.discriminator)
    loss = step._with_gradients(state, given, 0.5)
    logits = network(given.images)
    predicted, truth = logits[0].softmax(1), one_hot(given.targets.long(), 2).movedim(-1, 1).float()
    fooled, told, true = (
        judge(torch.cat((given.images, each), 1))[0] for each in (predicted, predicted.detach(), truth)
    )
    fooling = binary_cross_entropy_with_logits(fooled, torch.ones_like(fooled))
    telling = binary_cross_entropy_with_logits(true, torch.ones_like(true))
    telling = telling + binary_cross_entropy_with_logits(told, torch.zeros_like(told))
    wanted = torch.autograd.grad(telling, [*judge.parameters()])
    for weight, gradient in zip(objective.discriminator.parameters(), wanted):
        torch.testing.assert_close(weight.grad, gradient, rtol=1e-4, atol=1e-7)
    samples = step._samples(given, 0.5)[LABELLED]
    supervision = objective.supervision
    whole = supervision.judge(supervision.measure(logits, samples)) + 0.5 * fooling
    assert loss is not None and loss.item() == pytest.approx(whole.item(), rel=1e-5)
    expected = torch.autograd.grad(whole, [*network.parameters()], allow_unused=True)
    for weight, gradient in zip(state.network.parameters(), expected):
        torch.testing.assert_close(weight.grad, gradient, rtol=1e-3, atol=1e-6)


@pytest.mark.slow
def test_a_discriminator_learns_to_tell_and_without_weight_teaches_nothing(small_plan: Plan) -> None:
    states = {}
    for name, spec in {"on": SPEC, "silent": replace(SPEC, weight=0.0), "plain": supervised.Spec()}.items():
        states[name], step = begun(with_discriminator(small_plan, spec))
        for _ in range(6):
            assert step(states[name], inputs(), 0.1)
    networks = {name: flat(state.network) for name, state in states.items()}
    assert torch.equal(networks["silent"], networks["plain"]) and not torch.equal(networks["on"], networks["plain"])
    fresh, step = begun(with_discriminator(small_plan, replace(SPEC, weight=0.0)))
    telling = []
    for state in (fresh, states["silent"]):
        with torch.no_grad():
            measured = state.objective.measure(step._logits, step._samples(inputs(), 0.5), 0.5)
        telling.append(measured[1][:, 1].mean().item())
    assert telling[1] < telling[0]


def cases() -> dict[str, CaseInMemory]:
    random, given = np.random.default_rng(0), {}
    for number in range(2):
        labels = np.zeros((12, 12, 12), np.uint8)
        labels[3 : 7 + number, 4:9, 2:8] = 1
        image = (random.standard_normal((1, *labels.shape)) * 0.3 + 2 * labels).astype(np.float16)
        given[f"case{number}"] = CaseInMemory(image, labels, Locations.of({1: np.argwhere(labels)}))
    return given


def test_a_training_that_was_stopped_ends_bit_identical(small_plan: Plan, tmp_path: Path) -> None:
    plan = with_discriminator(small_plan, augmentation=standard.Spec())
    expected = train(plan, RunFolder(tmp_path / "whole"), 6, cases())
    with pytest.raises(StoppedError):
        train(plan, RunFolder(tmp_path / "parts"), 6, cases(), stop=3)
    got = train(plan, RunFolder(tmp_path / "parts"), 6, cases())
    assert torch.equal(flat(got.network), flat(expected.network))
    found, wanted = (tensors(state.objective.state_dict()) for state in (got, expected))
    assert len(found) == len(wanted) == 6 + 6 * 3  # of weights and biases, and for each a step and two averages
    assert all(torch.equal(*pair) for pair in zip(found, wanted))
    assert not torch.equal(discriminator(got), discriminator(begun(plan)[0]))


def test_the_state_of_another_objective_is_refused(small_plan: Plan, tmp_path: Path) -> None:
    save(begun(with_discriminator(small_plan, supervised.Spec()))[0], tmp_path / "plain")
    save(begun(with_discriminator(small_plan, replace(SPEC, features=(4, 8))))[0], tmp_path / "wider")
    for folder in ("plain", "wider"):
        with pytest.raises(TrainingError, match="another network, optimizer or objective"):
            resume(begun(with_discriminator(small_plan))[0], tmp_path / folder)


@pytest.mark.parametrize("labels", [ExclusiveLabels({"background": 0, "a": 1, "b": 2}), REGIONS])
def test_a_batch_in_parts_teaches_both_networks_as_a_whole_one(small_plan: Plan, labels: Any) -> None:
    plan, found = with_discriminator(small_plan, labels=labels, batch_size=3), []
    for parts in (1, 2, 3):
        state, step = begun(plan)
        state.parts = parts
        for _ in range(2):
            assert step(state, inputs(3, labels=3), 0.1)
        found.append((flat(state.network), discriminator(state)))
    assert not torch.equal(found[0][1], discriminator(begun(plan)[0]))
    for pair in found[1:]:
        for whole, in_parts in zip(found[0], pair):
            torch.testing.assert_close(in_parts, whole, rtol=1e-3, atol=1e-5)


def test_a_skipped_step_changes_no_discriminator_and_leaves_no_gradient(small_plan: Plan) -> None:
    plan = with_discriminator(small_plan)
    (state, step), (other, other_step) = begun(plan), begun(plan)
    broken = inputs()
    broken.images.fill_(float("nan"))
    before = discriminator(state)
    assert step(state, broken, 0.1) is None and torch.equal(discriminator(state), before)
    assert step(state, inputs(), 0.1) and other_step(other, inputs(), 0.1)
    assert torch.equal(discriminator(state), discriminator(other))


def test_the_scale_of_float16_gradients_is_taken_back(small_plan: Plan) -> None:
    (state, step), (scaled, scaled_step) = (begun(with_discriminator(small_plan)) for _ in range(2))
    scaled.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, enabled=True)
    for _ in range(2):
        assert step(state, inputs(), 0.1) and scaled_step(scaled, inputs(), 0.1)
    torch.testing.assert_close(discriminator(scaled), discriminator(state), rtol=1e-4, atol=1e-6)


def test_ignored_voxels_teach_nothing(small_plan: Plan) -> None:
    state, step = begun(with_discriminator(small_plan, labels=IGNORED))
    given = inputs(labels=3)  # 2 is the index of what is ignored
    logits = torch.randn(2, 2, 8, 8, 8, generator=torch.Generator().manual_seed(1)).requires_grad_()
    objective = state.objective
    measured = objective.measure(
        lambda seen, network=None: [logits] if network is None else network(seen), step._samples(given, 0.5), 0.5
    )
    measured[1][:, 0].sum().backward()
    assert logits.grad is not None
    ignored = (given.targets == 2).unsqueeze(1).expand_as(logits)
    assert not logits.grad[ignored].any() and logits.grad[~ignored].any()


def test_it_learns_on_slices_and_on_slabs_of_one_voxel(small_plan: Plan) -> None:
    network = plain_unet.Spec((4, 8), ((3, 3),) * 2, ((1, 1), (2, 2)), (1, 1), (1,))
    flat_patches = {"network": network, "patch_size": (8, 8), "spacing": (None, 0.5, 0.25)}
    state, step = begun(with_discriminator(small_plan, **flat_patches))
    assert step(state, inputs(2, (8, 8)), 0.0)
    thin = plain_unet.Spec((4, 8), ((1, 3, 3),) * 2, ((1, 1, 1), (1, 2, 2)), (1, 1), (1,))
    state, step = begun(with_discriminator(small_plan, network=thin, patch_size=(1, 8, 8)))
    assert step(state, inputs(2, (1, 8, 8)), 0.0)


def test_memory_is_counted_with_the_discriminator_and_its_optimizer(small_plan: Plan) -> None:
    plan = with_discriminator(small_plan)
    plain, counted = (
        step_memory(each.task(), resolve(SETTINGS), 1)
        for each in (with_discriminator(small_plan, supervised.Spec()), plan)
    )
    weights = 4 * discriminator(begun(plan)[0]).numel()
    assert counted.weights == plain.weights
    assert counted.optimizer == plain.optimizer + 3 * weights + 6 * 4  # two averages beside them; a number for each
    assert counted.activations > plain.activations and counted.peak >= plain.peak + 3 * weights


@pytest.mark.parametrize("values", [{"weight": -1.0}, {"features": ()}, {"features": (1 << 20,)}, {"learning_rate": 0}])
def test_impossible_settings_are_refused(values: dict[str, Any], small_plan: Plan) -> None:
    with pytest.raises(ValueError, match="|".join(values)):
        adversarial.Spec(**values)
    found = changed(small_plan, ["objective=adversarial", "objective.weight=0.5"]).configuration()[1].objective
    assert found == adversarial.Spec(weight=0.5)
