"""Distillation: what a network says of the full input teaches it what to say of the reduced one, in one step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from run_settings import SETTINGS
from torch.distributions import Bernoulli, Categorical, kl_divergence
from torch.nn.functional import kl_div

from autoseg.changes import changed
from autoseg.configuration import TrainingRules
from autoseg.core.labels import ExclusiveLabels, RegionLabels
from autoseg.core.missing import MissingChannels
from autoseg.errors import RecordError
from autoseg.parts.augmentations import standard
from autoseg.parts.inputs import presence
from autoseg.parts.normalizers import none as untouched
from autoseg.parts.objectives import distillation
from autoseg.plan import Plan
from autoseg.preprocessing.locations import Locations
from autoseg.settings import resolve
from autoseg.training.accounting import step_memory
from autoseg.training.batches import training_sampler
from autoseg.training.cases import CaseInMemory
from autoseg.training.state import TrainingState, start
from autoseg.training.step import Inputs, Step

EXCLUSIVE = ExclusiveLabels({"background": 0, "a": 1, "b": 2})
REGIONS = RegionLabels({"whole": (1, 2), "core": (2,), "rim": (1,)}, (1, 2, 1))


def divergence(labels: Any, taught: torch.Tensor, logits: torch.Tensor, temperature: float) -> torch.Tensor:
    spec = distillation.Spec(temperature=temperature)
    built = spec.build(None, labels, torch.nn.Identity(), None)  # type: ignore[arg-type]
    return built.divergence(taught, logits)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_the_divergence_is_torchs(temperature: float) -> None:
    taught, logits = torch.randn(2, 2, 3, 4, 5, 6, generator=torch.Generator().manual_seed(0)).mul(3)
    scaled = taught.movedim(1, -1) / temperature, logits.movedim(1, -1) / temperature
    expected = kl_divergence(*(Categorical(logits=each) for each in scaled)).flatten(1).mean(1)
    found = divergence(EXCLUSIVE, taught, logits, temperature)
    torch.testing.assert_close(found, temperature**2 * expected)
    whole = kl_div(scaled[1].log_softmax(-1), scaled[0].softmax(-1), reduction="sum") / (2 * 4 * 5 * 6)
    torch.testing.assert_close(found.mean(), temperature**2 * whole)
    of_regions = kl_divergence(*(Bernoulli(logits=each) for each in scaled)).sum(-1).flatten(1).mean(1)
    torch.testing.assert_close(divergence(REGIONS, taught, logits, temperature), temperature**2 * of_regions)
    for labels in (EXCLUSIVE, REGIONS):
        torch.testing.assert_close(divergence(labels, taught, taught, temperature), torch.zeros(2))


@pytest.mark.parametrize("value", [{"weight": -1.0}, {"temperature": 0.0}])
def test_impossible_settings_are_refused(value: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        distillation.Spec(**value)


def with_distillation(plan: Plan, **changes: Any) -> Plan:
    configuration = replace(
        plan.configuration()[1],
        normalizers=(untouched.Spec(),) * 2,
        inputs=(presence.Spec(),),
        augmentation=standard.Spec(),
        batch_size=4,
        training=TrainingRules(2, iterations_per_epoch=3),
        **({"objective": distillation.Spec(), "missing": MissingChannels({"T1": 0.0, "FLAIR": 0.5})} | changes),
    )
    return replace(plan, channels=("T1", "FLAIR"), configurations={plan.default: configuration})


def prepared(plan: Plan) -> tuple[TrainingState, Step, Inputs]:
    random = np.random.default_rng(0)
    labels = np.zeros((12, 12, 12), np.uint8)
    labels[3:8, 4:9, 2:8] = 1
    image = (random.standard_normal((2, *labels.shape)) + labels).astype(np.float16)
    told = np.ones_like(image, np.uint8)
    cases = {"case": CaseInMemory(image, labels, Locations.of({1: np.argwhere(labels)}), (told,))}
    task = plan.task()
    state = start(task, SETTINGS)
    step = Step.of(task, resolve(SETTINGS), 0, state.network)
    return state, step, step.augmented(training_sampler(cases, ["case"], task, 0).batch(3), 3)


def test_the_complete_patches_are_the_same_with_nothing_withheld(small_plan: Plan) -> None:
    _, _, inputs = prepared(with_distillation(small_plan))
    _, _, without = prepared(
        with_distillation(small_plan, missing=None, objective=small_plan.configuration()[1].objective)
    )
    assert inputs.complete is not None and without.complete is None
    torch.testing.assert_close(inputs.complete, without.images)
    withheld = [not patch[1].any() for patch in inputs.images]
    assert 0 < sum(withheld) < 4
    for patch, whole, lost in zip(inputs.images, inputs.complete, withheld):
        assert torch.equal(patch[0], whole[0]) and torch.equal(patch[2], whole[2]) and (whole[2:] == 1).all()
        assert torch.equal(patch[1:], whole[1:]) != lost


def gradients(plan: Plan, parts: int = 1) -> torch.Tensor:
    state, step, inputs = prepared(plan)
    state.parts = parts
    assert step._with_gradients(state, inputs, 0.5) is not None
    return torch.cat([each.grad.flatten() for each in state.network.parameters() if each.grad is not None])


def test_it_changes_the_gradient_and_in_parts_it_is_that_of_the_whole_batch(small_plan: Plan) -> None:
    whole, plain = (
        gradients(with_distillation(small_plan, objective=distillation.Spec(weight))) for weight in (5.0, 0.0)
    )
    assert not torch.allclose(whole, plain, rtol=1e-2)
    in_parts = gradients(with_distillation(small_plan, objective=distillation.Spec(5.0)), parts=3)
    torch.testing.assert_close(in_parts, whole, rtol=1e-3, atol=1e-5)
    supervised = gradients(with_distillation(small_plan, objective=small_plan.configuration()[1].objective))
    torch.testing.assert_close(plain, supervised)


def test_the_teacher_gets_no_gradient(small_plan: Plan) -> None:
    state, step, inputs = prepared(with_distillation(small_plan))
    assert inputs.complete is not None
    inputs.complete.requires_grad_()
    step.loss_of(state.objective, inputs).backward()
    assert inputs.complete.grad is None


@pytest.mark.slow
def test_what_it_takes_is_counted(small_plan: Plan) -> None:
    plain = with_distillation(small_plan, objective=small_plan.configuration()[1].objective)
    counted, before = (
        step_memory(plan.task(), resolve(SETTINGS), 1) for plan in (with_distillation(small_plan), plain)
    )
    patches = 4 * 4 * 8**3 * 4  # of patches, channels, voxels, bytes
    assert counted.batch == before.batch + patches and counted.weights == before.weights
    assert counted.peak > before.peak


def test_where_no_channel_may_be_missing_it_is_refused(small_plan: Plan) -> None:
    with pytest.raises(RecordError, match=r"objective distillation learns from what is withheld.*--missing-channels"):
        changed(small_plan, ["objective=distillation"])
    plan = with_distillation(small_plan, objective=small_plan.configuration()[1].objective)
    found = changed(plan, ["objective=distillation", "objective.weight=0.5"]).configuration()[1].objective
    assert found == distillation.Spec(weight=0.5)
