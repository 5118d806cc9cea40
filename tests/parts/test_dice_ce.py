"""Laws of the Dice plus cross-entropy loss."""

import json
from pathlib import Path

import pytest
import torch

from autoseg.core.labels import ExclusiveLabels, RegionLabels
from autoseg.parts.losses.dice_ce import Spec

EXCLUSIVE = ExclusiveLabels({"background": 0, "a": 1, "b": 2})
SPARSE = ExclusiveLabels({"background": 0, "a": 1, "b": 2}, ignore=9)
REGIONS = RegionLabels({"whole": (1, 2), "core": (2,)}, (1, 2))
SPARSE_REGIONS = RegionLabels({"whole": (1, 2), "core": (2,)}, (1, 2), ignore=9)
NNUNET = json.loads((Path(__file__).parent / "nnunet_losses.json").read_text())  # benchmarks/oracle_losses.py


def inputs():
    logits = (3 * torch.sin(torch.arange(2 * 3 * 4 * 5 * 6, dtype=torch.float32) * 0.7)).reshape(2, 3, 4, 5, 6)
    target = (torch.arange(2 * 4 * 5 * 6) * 7 % 11 % 3).reshape(2, 4, 5, 6)
    sparse = torch.where(torch.arange(2 * 4 * 5 * 6).reshape(2, 4, 5, 6) % 5 == 0, 3, target)
    return logits, target, sparse


@pytest.mark.parametrize("batch_dice", [False, True])
def test_equals_nnunet_up_to_the_constant_one(batch_dice):
    logits, target, sparse = inputs()
    spec = Spec(batch_dice)
    got = {
        "exclusive": spec.build(EXCLUSIVE)(logits, target),
        "exclusive_ignore": spec.build(SPARSE)(logits, sparse),
        "regions": spec.build(REGIONS)(logits[:, :2], target),
    }
    for name, value in got.items():
        assert value.item() == pytest.approx(NNUNET[f"{name}_{batch_dice}"] + 1.0, abs=2e-6), name


@pytest.mark.parametrize("labels", [SPARSE, SPARSE_REGIONS])
def test_ignored_voxels_change_nothing(labels):
    logits, _, sparse = inputs()
    logits = logits[:, : labels.heads]
    changed = torch.where((sparse == 3).unsqueeze(1), logits + 5.0, logits).requires_grad_()
    loss = Spec(True).build(labels)
    value = loss(changed, sparse)
    value.backward()
    assert value.item() == pytest.approx(loss(logits, sparse).item(), abs=1e-6)
    assert (changed.grad[(sparse == 3).unsqueeze(1).expand_as(changed)] == 0).all()
    assert changed.grad.abs().sum() > 0


@pytest.mark.parametrize("labels", [SPARSE, SPARSE_REGIONS])
def test_a_patch_with_nothing_annotated_gives_a_finite_loss_without_gradient(labels):
    logits = torch.randn(1, labels.heads, 4, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    value = Spec(False).build(labels)(logits, torch.full((1, 4, 4), 3))
    value.backward()
    assert torch.isfinite(value)
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("labels", [EXCLUSIVE, REGIONS])
def test_a_perfect_prediction_costs_nothing_and_a_wrong_one_does(labels):
    _, target, _ = inputs()
    on = torch.from_numpy(labels.index_table)[:, target].movedim(0, 1)
    perfect = torch.where(on, 30.0, -30.0)
    loss = Spec(False).build(labels)
    assert loss(perfect, target).item() == pytest.approx(0.0, abs=1e-5)
    assert loss(-perfect, target).item() > 1.0


def test_bfloat16_logits_are_summed_in_float32():
    logits, target, _ = inputs()
    rounded = logits.bfloat16()
    loss = Spec(True).build(EXCLUSIVE)
    assert loss(rounded, target).item() == loss(rounded.float(), target).item()


def test_targets_of_one_byte_are_taken():
    logits, target, _ = inputs()
    loss = Spec(True).build(EXCLUSIVE)
    assert loss(logits, target.to(torch.uint8)).item() == loss(logits, target).item()
