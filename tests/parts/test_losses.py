"""Laws of the losses: one contract for all of them, and equality with other people's implementations."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from autoseg.configuration import LOSSES
from autoseg.core.labels import ExclusiveLabels, Labels, RegionLabels
from autoseg.core.records import from_json, to_json
from autoseg.errors import RecordError
from autoseg.parts.losses import (
    boundary,
    ce,
    dice,
    dice_ce,
    exponential_logarithmic,
    focal,
    generalized_dice,
    top_k,
    tversky,
    weighted_ce,
)
from autoseg.parts.losses._on_processor import signed_distances

EXCLUSIVE = ExclusiveLabels({"background": 0, "a": 1, "b": 2})
SPARSE = ExclusiveLabels({"background": 0, "a": 1, "b": 2}, ignore=9)
REGIONS = RegionLabels({"whole": (1, 2), "core": (2,)}, (1, 2))
SPARSE_REGIONS = RegionLabels({"whole": (1, 2), "core": (2,)}, (1, 2), ignore=9)
IGNORED = 3  # the index of the ignored value
ORACLE = json.loads((Path(__file__).parent / "oracle_losses.json").read_text())  # benchmarks/oracle_losses.py

SPECS = {name: LOSSES.load(name)() for name in LOSSES}
BATCHED = {name: LOSSES.load(name)(batch_dice=True) for name, spec in SPECS.items() if hasattr(spec, "batch_dice")}
ONCE = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
ALL = pytest.mark.parametrize("spec", [*SPECS.values(), *BATCHED.values()], ids=[*SPECS, *(f"{n} b" for n in BATCHED)])
BOTH_KINDS = pytest.mark.parametrize("labels", [EXCLUSIVE, REGIONS], ids=["exclusive", "regions"])
BOTH_SPARSE = pytest.mark.parametrize("labels", [SPARSE, SPARSE_REGIONS], ids=["exclusive", "regions"])


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    logits = (3 * torch.sin(torch.arange(2 * 3 * 4 * 5 * 6, dtype=torch.float32) * 0.7)).reshape(2, 3, 4, 5, 6)
    target = (torch.arange(2 * 4 * 5 * 6) * 7 % 11 % 3).reshape(2, 4, 5, 6)
    sparse = torch.where(torch.arange(2 * 4 * 5 * 6).reshape(2, 4, 5, 6) % 5 == 0, IGNORED, target)
    return logits, target, sparse


def perfect(labels: Labels, target: Tensor) -> Tensor:
    on = torch.from_numpy(labels.index_table)[:, target].movedim(0, 1)
    return torch.where(on, 30.0, -30.0)


@ALL
@BOTH_KINDS
def test_a_perfect_prediction_costs_nothing_and_a_wrong_one_does(spec: Any, labels: Labels) -> None:
    _, target, _ = inputs()
    loss = spec.build(labels)
    assert loss(perfect(labels, target), target).item() == pytest.approx(0.0, abs=1e-5)
    assert loss(-perfect(labels, target), target).item() > 0.5


@pytest.mark.slow
@ONCE
@BOTH_KINDS
@pytest.mark.parametrize("shape", [(2, 9, 8), (2, 5, 6, 7)], ids=["2-D", "3-D"])
def test_it_falls_under_gradient_descent_towards_the_truth(spec: Any, labels: Labels, shape: tuple[int, ...]) -> None:
    random = torch.Generator().manual_seed(0)
    target = torch.zeros(shape, dtype=torch.uint8)
    target[:, 2:7, 2:6], target[1, 3:5, 3:5] = 1, 2
    logits = (0.1 * torch.randn(2, labels.heads, *shape[1:], generator=random)).requires_grad_()
    loss, optimizer = spec.build(labels), torch.optim.Adam([logits], 0.3)
    values = []
    for _ in range(25):
        optimizer.zero_grad()
        value = loss(logits, target)
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert np.isfinite(values).all() and values[-1] < values[10] < values[0]
    assert values[-1] < 0.5 * values[0]


@ALL
@BOTH_SPARSE
def test_ignored_voxels_change_nothing(spec: Any, labels: Labels) -> None:
    logits, _, sparse = inputs()
    logits = logits[:, : labels.heads]
    changed = torch.where((sparse == IGNORED).unsqueeze(1), logits + 5.0, logits).requires_grad_()
    loss = spec.build(labels)
    value = loss(changed, sparse)
    value.backward()
    assert value.item() == pytest.approx(loss(logits, sparse).item(), abs=1e-6)
    assert changed.grad is not None and torch.isfinite(changed.grad).all()
    assert (changed.grad[(sparse == IGNORED).unsqueeze(1).expand_as(changed)] == 0).all()
    assert changed.grad.abs().sum() > 0


@ALL
@BOTH_SPARSE
def test_a_patch_with_nothing_annotated_gives_a_finite_loss_without_gradient(spec: Any, labels: Labels) -> None:
    logits = torch.randn(1, labels.heads, 4, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    value = spec.build(labels)(logits, torch.full((1, 4, 4), IGNORED))
    value.backward()
    assert torch.isfinite(value)
    assert logits.grad is not None and (logits.grad == 0).all()


@ALL
@pytest.mark.parametrize("labels", [EXCLUSIVE, SPARSE, REGIONS, SPARSE_REGIONS])
def test_a_batch_that_lies_apart_is_judged_as_a_whole_one(spec: Any, labels: Labels) -> None:
    """Patches of which one process, or one part of a step, has measured some and another the others."""
    logits, target, sparse = (torch.cat((each, each.roll(2, -1)))[:3] for each in inputs())
    truth = target if labels.ignore_index is None else sparse
    loss, scores = spec.build(labels), logits[:, : labels.heads].clone().requires_grad_()
    expected = loss(scores, truth)
    (gradient,) = torch.autograd.grad(expected, scores)
    parts = [loss.measure(scores[part], truth[part]) for part in (slice(0, 2), slice(2, 3))]
    measures = [torch.cat(each).detach().requires_grad_() for each in zip(*parts)]
    judged = loss.judge(measures)
    judged.backward()
    torch.autograd.backward([torch.cat(each) for each in zip(*parts)], [each.grad for each in measures])
    assert judged.item() == pytest.approx(expected.item(), rel=1e-6)
    torch.testing.assert_close(scores.grad, gradient, rtol=1e-5, atol=1e-8)


@ALL
@BOTH_SPARSE
def test_what_is_measured_does_not_grow_with_the_patch_unless_the_hardest_voxels_are_sought(
    spec: Any, labels: Labels
) -> None:
    small, large = (
        spec.build(labels).measure(torch.zeros(2, labels.heads, *size), torch.zeros(2, *size, dtype=torch.uint8))
        for size in ((4, 4, 4), (8, 8, 8))
    )
    grown = [sum(each.numel() for each in measures) for measures in (small, large)]
    assert (grown[0] == grown[1] <= 2 * 48 * labels.heads) is (type(spec) is not top_k.Spec)


@ALL
@BOTH_KINDS
def test_patches_without_foreground_and_without_background_have_finite_gradients(spec: Any, labels: Labels) -> None:
    target = torch.stack((torch.zeros(4, 4, dtype=torch.long), torch.full((4, 4), 2)))
    for scale in (0.0, 1.0, 60.0):
        logits = scale * torch.randn(2, labels.heads, 4, 4, generator=torch.Generator().manual_seed(0))
        logits.requires_grad_()
        value = spec.build(labels)(logits, target)
        value.backward()
        assert torch.isfinite(value) and logits.grad is not None and torch.isfinite(logits.grad).all()


@ALL
@BOTH_KINDS
def test_bfloat16_logits_are_summed_in_float32(spec: Any, labels: Labels) -> None:
    logits, target, _ = inputs()
    rounded = logits[:, : labels.heads].bfloat16()
    loss = spec.build(labels)
    assert loss(rounded, target).item() == loss(rounded.float(), target).item()


@ALL
def test_targets_of_one_byte_are_taken(spec: Any) -> None:
    logits, target, _ = inputs()
    loss = spec.build(EXCLUSIVE)
    assert loss(logits, target.to(torch.uint8)).item() == loss(logits, target).item()


@ALL
def test_it_is_written_and_read_by_its_name(spec: Any) -> None:
    assert from_json(type(spec), to_json(spec)) == spec


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize(
    ("name", "make", "shift"),
    [
        ("dice_ce", dice_ce.Spec, 1.0),  # nnU-Net's Dice runs from 0 to -1
        ("dice_top_k", lambda batch: top_k.Spec(dice_weight=1.0, batch_dice=batch), 1.0),
        ("dice", dice.Spec, 0.0),
        ("tversky", lambda batch: tversky.Spec(batch_dice=batch), 0.0),
        ("generalized_dice", lambda batch: generalized_dice.Spec(batch, smooth=0.0), 0.0),
    ],
)
def test_equals_nnunet_or_monai(name: str, make: Callable[[bool], Any], shift: float, batch: bool) -> None:
    logits, target, sparse = inputs()
    given = {
        "exclusive": (EXCLUSIVE, logits, target),
        "ignore": (SPARSE, logits, sparse),
        "regions": (REGIONS, logits[:, :2], target),
    }
    compared = 0
    for kind, (labels, scores, truth) in given.items():
        expected = ORACLE.get(f"{name} {kind} {batch}")
        if expected is not None:
            value = make(batch).build(labels)(scores, truth).item()
            assert value == pytest.approx(expected + shift, abs=2e-6), kind
            compared += 1
    assert compared >= 1


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("top_k exclusive", top_k.Spec()),
        ("focal exclusive", focal.Spec()),
        ("focal regions", focal.Spec()),
        ("boundary exclusive", boundary.Spec(dice_weight=0.0, ce_weight=0.0)),
        ("boundary regions", boundary.Spec(dice_weight=0.0, ce_weight=0.0)),
    ],
)
def test_equals_nnunet_or_monai_without_any_dice(name: str, spec: Any) -> None:
    logits, target, _ = inputs()
    labels = EXCLUSIVE if name.endswith("exclusive") else REGIONS
    value = spec.build(labels)(logits[:, : labels.heads], target)
    assert value.item() == pytest.approx(ORACLE[name], abs=2e-6)


def test_focal_without_gamma_and_top_k_of_everything_are_cross_entropy() -> None:
    logits, target, _ = inputs()
    for labels in (EXCLUSIVE, REGIONS):
        scores = logits[:, : labels.heads]
        expected = ce.Spec().build(labels)(scores, target).item()
        for spec in (focal.Spec(gamma=0.0), top_k.Spec(share=1.0)):
            assert spec.build(labels)(scores, target).item() == pytest.approx(expected, abs=1e-6)


def test_top_k_takes_its_share_of_the_voxels_that_count() -> None:
    logits, _, sparse = inputs()
    entropy = torch.nn.functional.cross_entropy(logits, sparse, ignore_index=IGNORED, reduction="none")
    counted = entropy[sparse != IGNORED].sort(descending=True).values  # 192 of 240
    assert top_k.Spec(share=0.25).build(SPARSE)(logits, sparse).item() == pytest.approx(counted[:48].mean().item())


def test_weights_of_labels_are_torchs() -> None:
    logits, _, sparse = inputs()
    weights = (0.2, 1.0, 3.0)
    expected = torch.nn.functional.cross_entropy(logits, sparse, torch.tensor(weights), ignore_index=IGNORED)
    got = weighted_ce.Spec(weights).build(SPARSE)(logits, sparse)
    assert got.item() == pytest.approx(expected.item(), abs=1e-6)


def test_weights_of_regions_weigh_the_inside_against_the_outside() -> None:
    logits, target, _ = inputs()
    means = []
    for head, weight in ((0, 4.0), (1, 0.5)):
        on = (target >= head + 1).double()
        entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits[:, head].double(), on, reduction="none")
        spread = on * weight + (1 - on)
        means.append((entropy * spread).sum() / spread.sum())
    got = weighted_ce.Spec((4.0, 0.5)).build(REGIONS)(logits[:, :2], target)
    assert got.item() == pytest.approx(torch.stack(means).mean().item(), abs=1e-6)


def test_without_weights_every_label_present_counts_the_same() -> None:
    logits, target, _ = inputs()
    target = torch.where(target == 2, 0, target)  # label b is nowhere
    target[1] = 0
    entropy = torch.nn.functional.cross_entropy(logits, target, reduction="none")
    expected = (entropy[target == 0].mean() + entropy[target == 1].mean()) / 2
    assert weighted_ce.Spec().build(EXCLUSIVE)(logits, target).item() == pytest.approx(expected.item(), abs=1e-6)


@pytest.mark.parametrize("labels", [EXCLUSIVE, REGIONS])
def test_weights_must_be_one_per_head(labels: Labels) -> None:
    with pytest.raises(RecordError, match="give one each for") as refused:
        weighted_ce.Spec((1.0,)).build(labels)
    assert all(name in str(refused.value) for name in labels.foreground)


def test_exponential_logarithmic_is_the_authors_formula() -> None:
    logits, target, _ = inputs()
    scores, truth = logits.double().numpy(), target.numpy()
    probability = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    dices = []
    for patch in range(2):
        for head in (1, 2):
            on, p = truth[patch] == head, probability[patch, head]
            dices.append((2 * p[on].sum() + 1) / (p.sum() + on.sum() + 1))
    of_truth = np.take_along_axis(probability, truth[:, None], 1)[:, 0]
    weights = np.sqrt(truth.size / np.bincount(truth.ravel()))[truth]
    floor = 1e-7**0.3  # what a finite slope at 0 costs
    expected = 0.8 * np.mean((-np.log(dices)) ** 0.3 - floor)
    expected += 0.2 * np.mean(weights * ((-np.log(of_truth)) ** 0.3 - floor))
    got = exponential_logarithmic.Spec().build(EXCLUSIVE)(logits, target).item()
    assert got == pytest.approx(expected, abs=2e-5)


def test_distances_are_zero_at_the_border_and_grow_on_both_sides() -> None:
    on = torch.zeros(1, 3, 1, 9, dtype=torch.bool)
    on[0, 0, 0, 3:7], on[0, 2] = True, True
    found = signed_distances(on, (1.0, 1.0))[0, :, 0].tolist()
    assert found == [[3, 2, 1, 0, -1, -1, 0, 1, 2], [0] * 9, [0] * 9]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (dice_ce, {"dice_weight": 0.0, "ce_weight": 0.0}),
        (dice, {"smooth": -1.0}),
        (top_k, {"share": 0.0}),
        (top_k, {"share": 1.5}),
        (focal, {"gamma": -1.0}),
        (tversky, {"alpha": float("nan")}),
        (weighted_ce, {"weights": (1.0, -1.0)}),
        (weighted_ce, {"weights": (0.0, 0.0)}),
        (exponential_logarithmic, {"gamma_ce": 0.0}),
    ],
)
def test_impossible_numbers_are_refused(kind: Any, values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="|".join(values)):
        kind.Spec(**values)
