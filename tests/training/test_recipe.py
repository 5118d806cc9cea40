"""By default autoseg trains as nnU-Net does: its own objects say how, and every number can be set."""

from __future__ import annotations

import json
from dataclasses import replace
from math import degrees
from pathlib import Path
from typing import Any

import pytest
import torch
from autoseg.planners.plain_unet import PLANNER
from tasks import task_of

from autoseg.parts.augmentations import standard
from autoseg.parts.losses import dice_ce
from autoseg.plan import Plan
from autoseg.planning.planner import augmentation_for
from autoseg.settings import RunSettings, resolve
from autoseg.training.deep_supervision import scale_weights
from autoseg.training.state import objective_of
from autoseg.training.step import Inputs, Step

NNUNET = json.loads((Path(__file__).parent / "nnunet_recipe.json").read_text())  # benchmarks/oracle_recipe.py
SPEC = standard.Spec()


def theirs(name: str, which: int = 0, *, flat: bool = False) -> dict[str, Any]:
    """The ``which``-th transform of that kind."""
    found: dict[str, Any] = [
        transform
        for transform in NNUNET["transforms_of_flat_patches" if flat else "transforms"]
        if transform["name"] == f"{name}Transform"
    ][which]
    return found


def test_rotation_and_scaling() -> None:
    for flat in (False, True):
        spatial = theirs("Spatial", flat=flat)
        assert (SPEC.rotation_probability, SPEC.scaling_probability) == (spatial["p_rotation"], spatial["p_scaling"])
        assert list(SPEC.scaling) == spatial["scaling"]
        assert spatial["p_synchronize_scaling_across_axes"] == 1 and spatial["p_rot_per_axis"] == 1
        assert spatial["p_elastic_deform"] == 0 and spatial["mode_image"] == spatial["mode_seg"] == "bilinear"
        assert spatial["padding_value_image"] == 0 and not spatial["random_crop"]
    assert len(theirs("Spatial", flat=True)["patch_size"]) == 2  # of a flat patch, slices are rotated


def test_noise_and_blur() -> None:
    noise, blur = theirs("GaussianNoise"), theirs("GaussianBlur")
    assert (list(SPEC.noise_variance), SPEC.noise_probability) == (noise["noise_variance"], noise["probability"])
    assert noise["synchronize_channels"] and noise["p_per_channel"] == 1
    assert (list(SPEC.blur_sigma), SPEC.blur_probability) == (blur["blur_sigma"], blur["probability"])
    assert SPEC.blur_channel_probability == blur["p_per_channel"]
    assert not blur["synchronize_channels"] and not blur["synchronize_axes"]


def test_brightness_contrast_and_gamma() -> None:
    brightness, contrast = theirs("MultiplicativeBrightness"), theirs("Contrast")
    inverted, gamma = theirs("Gamma"), theirs("Gamma", 1)
    assert (list(SPEC.brightness), SPEC.brightness_probability) == (
        brightness["multiplier_range"],
        brightness["probability"],
    )
    assert (list(SPEC.contrast), SPEC.contrast_probability) == (contrast["contrast_range"], contrast["probability"])
    assert contrast["preserve_range"]
    assert list(SPEC.gamma) == inverted["gamma"] == gamma["gamma"]
    assert (SPEC.inverted_gamma_probability, SPEC.gamma_probability) == (inverted["probability"], gamma["probability"])
    assert (inverted["p_invert_image"], gamma["p_invert_image"]) == (1, 0)
    assert inverted["p_retain_stats"] == gamma["p_retain_stats"] == 1
    for transform in (brightness, contrast, inverted, gamma):
        assert not transform["synchronize_channels"] and transform["p_per_channel"] == 1


def test_low_resolution() -> None:
    low = theirs("SimulateLowResolution")
    assert (list(SPEC.low_resolution), SPEC.low_resolution_probability) == (low["scale"], low["probability"])
    assert SPEC.low_resolution_channel_probability == low["p_per_channel"]
    assert low["synchronize_axes"] and not low["synchronize_channels"] and "ignore_axes" not in low
    assert theirs("SimulateLowResolution", flat=True)["ignore_axes"] == [0]


def test_what_changes_grey_values_comes_in_its_order() -> None:
    order = ["Spatial", "GaussianNoise", "GaussianBlur", "MultiplicativeBrightness", "Contrast"]
    order += ["SimulateLowResolution", "Gamma", "Gamma", "Mirror", "MaskImage", "RemoveLabel"]
    assert [transform["name"] for transform in NNUNET["transforms"]] == [f"{name}Transform" for name in order]


@pytest.mark.parametrize("rule", NNUNET["patches"], ids=lambda rule: "x".join(map(str, rule["patch"])))
def test_the_patch_decides_angle_flatness_and_what_is_loaded(rule: dict[str, Any]) -> None:
    patch = tuple(rule["patch"])
    planned = augmentation_for(patch, (), SPEC)
    assert planned.rotation_degrees == pytest.approx(degrees(rule["rotation"][1]))
    assert planned.dummy_2d == rule["flat"]
    assert rule["mirrored"] == list(range(len(patch)))
    loaded = planned.loaded_shape(patch)
    assert all(ours >= one for ours, one in zip(loaded, rule["loaded"]))  # ours fits either sense of a rotation
    assert max(loaded) == max(rule["loaded"])


def test_optimizer_schedule_and_length() -> None:
    theirs, sgd, rules, trainer = NNUNET["optimizer"], PLANNER.optimizer, PLANNER.training, NNUNET["trainer"]
    assert (sgd.learning_rate, sgd.momentum) == (theirs["lr"], theirs["momentum"])
    assert (sgd.weight_decay, sgd.nesterov) == (theirs["weight_decay"], theirs["nesterov"])
    assert (rules.epochs, rules.iterations_per_epoch) == (trainer["num_epochs"], trainer["num_iterations_per_epoch"])
    assert rules.oversampling == trainer["oversample_foreground_percent"] and not trainer["probabilistic_oversampling"]
    for epoch, rate in NNUNET["learning_rates"].items():
        iteration = int(epoch) * rules.iterations_per_epoch
        progress = iteration / (rules.epochs * rules.iterations_per_epoch)
        assert sgd.learning_rate * PLANNER.schedule.factor(progress, iteration) == pytest.approx(rate)


def test_loss() -> None:
    loss, spec = NNUNET["loss"], dice_ce.Spec()
    assert (spec.dice_weight, spec.ce_weight, spec.smooth) == (loss["weight_dice"], loss["weight_ce"], loss["smooth"])
    assert not loss["do_bg"]


@pytest.mark.parametrize("stages", [3, 4, 6])  # of two, nnU-Net makes no number
def test_weights_of_the_scales(stages: int) -> None:
    assert scale_weights(stages - 1) == pytest.approx(NNUNET["supervision"][str(stages)])


@pytest.mark.parametrize(("ratio", "finest"), [(0.5, 2 / 3), (0.0, 1.0), (1.0, 0.5)])
def test_the_plan_weighs_the_scales(small_plan: Plan, ratio: float, finest: float) -> None:
    configuration = small_plan.configurations["3d_fullres"]
    configuration = replace(configuration, training=replace(configuration.training, deep_supervision=ratio))
    scales = [torch.full((2, 2, edge, edge, edge), 0.0) for edge in (8, 4, 2)]
    scales[0][:, 1], scales[1][:, 1], scales[2][:, 1] = 1.0, -2.0, 5.0
    resolved = resolve(RunSettings(device="cpu", precision="float32"))
    task = task_of(small_plan, configuration)
    step = Step.of(task, resolved, 0, lambda _: scales)
    targets = torch.ones(2, 8, 8, 8, dtype=torch.uint8)
    loss = configuration.loss.build(small_plan.labels)
    each = [loss(scale, torch.ones(2, *scale.shape[2:], dtype=torch.uint8)) for scale in scales]
    expected = finest * each[0] + (1 - finest) * each[1]
    inputs = Inputs(torch.zeros(2, 1, 8, 8, 8), targets, ("a", "b"), 0)
    assert step.loss_of(objective_of(task, task.network()), inputs).item() == pytest.approx(expected.item())
