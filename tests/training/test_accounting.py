"""What is counted without computing is what a real step holds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from one_step import THREADS, allocated, begun
from tasks import task_of

from autoseg.core.labels import Labels, RegionLabels
from autoseg.parts.augmentations import none
from autoseg.parts.losses import (
    _recompute,
    boundary,
    calibration,
    cl_dice,
    dice_ce,
    hausdorff,
    noise_robust,
    skeleton_recall,
)
from autoseg.parts.networks import multi_encoder_unet, plain_unet, residual_unet
from autoseg.parts.optimizers import adamw, muon, sgd
from autoseg.plan import Plan
from autoseg.settings import RunSettings, computes, resolve
from autoseg.training.accounting import step_memory
from autoseg.training.step import Inputs

REGIONS = RegionLabels({"whole": (1, 2), "core": (2,)}, (1, 2))
FLAT: dict[str, Any] = {
    "patch_size": (32, 24),
    "network": plain_unet.Spec((8, 16, 16), ((3, 3),) * 3, ((1, 1), (2, 2), (2, 1)), (2, 2, 2), (2, 2)),
    "spacing": (None, 1.0, 1.0),
}
RESIDUAL: dict[str, Any] = {
    "patch_size": (8, 16, 16),
    "network": residual_unet.Spec((16, 32), ((1, 3, 3), (3, 3, 3)), ((1, 1, 1), (1, 2, 2)), (1, 3), (1,)),
}
SEVERAL: dict[str, Any] = {
    "channels": 3,
    "patch_size": (8, 16, 16),
    "network": multi_encoder_unet.Spec(
        (16, 32), ((1, 3, 3), (3, 3, 3)), ((1, 1, 1), (1, 2, 2)), (2, 2), (2,), fusion="attention"
    ),
}


def varied(plan: Plan, labels: Labels | None = None, channels: int = 1, **changes: Any) -> Plan:
    name, configuration = plan.configuration()
    of_channels = {"augmentation": none.Spec(), "normalizers": configuration.normalizers * channels}
    changed = replace(configuration, **{**of_channels, **changes})
    names = plan.channels * channels
    return replace(plan, configurations={name: changed}, labels=labels or plan.labels, channels=names)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "changes"),
    [
        ("float32", {}),
        ("bfloat16", {}),
        ("float32", FLAT),
        ("bfloat16", RESIDUAL),
        ("float32", {"labels": REGIONS}),
        ("bfloat16", {"loss": boundary.Spec()}),
        ("float32", {"loss": cl_dice.Spec(), **FLAT}),
        ("float32", {"loss": hausdorff.Spec(), "labels": REGIONS}),
        ("float32", {"loss": skeleton_recall.Spec()}),
        ("bfloat16", {"loss": calibration.Spec()}),
        ("float32", {"loss": noise_robust.Spec()}),
        ("float32", SEVERAL),
        ("bfloat16", SEVERAL),
        ("float32", {**SEVERAL, "network": replace(SEVERAL["network"], fusion="mean_maximum")}),
        ("float32", {**SEVERAL, "network": replace(SEVERAL["network"], fusion="concatenation")}),
    ],
)
def test_what_a_backward_pass_keeps_is_counted(small_plan: Plan, precision: str, changes: dict[str, Any]) -> None:
    plan = varied(small_plan, **changes)
    configuration, state, step, batch = begun(plan, precision)
    kept: dict[int, int] = {}
    alive = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        alive.append(tensor)  # so that no address comes twice
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        step.loss_of(state.objective, Inputs(batch.images.float(), batch.targets, batch.keys, 0))
    weights = {weight.untyped_storage().data_ptr() for weight in state.network.parameters()}
    counted = step_memory(task_of(plan, configuration), step.resolved, THREADS)
    really = sum(size for place, size in kept.items() if place not in weights)
    # Without data torch says that group_norm keeps its mean and deviation per channel in 16 bits; they have 32.
    assert counted.activations == (really if step.resolved.dtype is None else pytest.approx(really, rel=5e-3))
    assert counted.weights == sum(weight.nbytes for weight in state.network.parameters())


@pytest.mark.parametrize(("optimizer", "copies"), [(sgd.Spec(), 1), (adamw.Spec(), 2), (muon.Spec(), 1)])
def test_an_optimizers_state_is_counted(small_plan: Plan, optimizer: Any, copies: int) -> None:
    plan = varied(small_plan, optimizer=optimizer)
    counted = step_memory(plan.task(), resolve(RunSettings(device="cpu")), THREADS)
    assert counted.optimizer == copies * counted.weights


def test_a_moving_average_of_the_weights_is_counted(small_plan: Plan) -> None:
    plain, averaged = (
        step_memory(task_of(plan, configuration), resolve(RunSettings(device="cpu")), THREADS)
        for plan in [varied(small_plan)]
        for configuration in (
            plan.configuration()[1],
            replace(plan.configuration()[1], training=replace(plan.configuration()[1].training, ema_decay=0.99)),
        )
    )
    assert averaged.optimizer == plain.optimizer + plain.weights
    assert averaged.peak == plain.peak + plain.weights


@pytest.mark.slow
def test_a_plan_too_large_for_any_machine_can_be_counted(small_plan: Plan) -> None:
    plan = varied(small_plan, patch_size=(1024, 1024, 1024))
    counted = step_memory(plan.task(), resolve(RunSettings(device="cpu")), THREADS)
    assert counted.peak > 1 << 38


@pytest.mark.slow
@pytest.mark.parametrize("loss", [cl_dice.Spec(), dice_ce.Spec()])
def test_what_a_backward_pass_keeps_is_counted_where_a_loss_computes_in_parts(
    small_plan: Plan, loss: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_recompute, "WHOLE", 0)
    monkeypatch.setattr(_recompute, "PART", 100)
    test_what_a_backward_pass_keeps_is_counted(small_plan, "bfloat16", {"loss": loss})


@pytest.mark.parametrize(
    ("precision", "changes"),
    [("float32", {"patch_size": (24, 32, 32)}), ("bfloat16", {"patch_size": (24, 32, 32)}), ("bfloat16", FLAT)],
)
def test_the_peak_is_what_torch_allocates(small_plan: Plan, precision: str, changes: dict[str, Any]) -> None:
    if not computes(torch.bfloat16):
        pytest.skip("oneDNN's needs were measured with AVX-512 and bfloat16 instructions only")
    plan = varied(small_plan, **changes)
    configuration, state, step, batch = begun(plan, precision)
    counted = step_memory(task_of(plan, configuration), step.resolved, THREADS)
    assert counted.peak == pytest.approx(allocated(state, step, batch, counted), rel=0.1)
