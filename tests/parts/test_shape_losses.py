"""Losses of distances, skeletons, wrong labels and calibration beside loops over voxels; all in parts and float64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.morphology import dilation, skeletonize
from torch import Tensor

from autoseg.configuration import LOSSES
from autoseg.core.labels import ExclusiveLabels, Labels, RegionLabels
from autoseg.parts.losses import (
    _recompute,
    boundary,
    calibration,
    ce,
    cl_dice,
    dice_ce,
    hausdorff,
    noise_robust,
    skeleton_recall,
    top_k,
)
from autoseg.parts.losses._on_processor import border_distances, signed_distances, tubed_skeletons
from autoseg.parts.losses._shape import soft_skeleton

EXCLUSIVE = ExclusiveLabels({"background": 0, "a": 1, "b": 2}, ignore=9)
REGIONS = RegionLabels({"whole": (1, 2), "core": (2,)}, (1, 2), ignore=9)
IGNORED = 3
SPACINGS = {2: (2.0, 0.5), 3: (3.0, 1.0, 0.5)}
BOTH_KINDS = pytest.mark.parametrize("labels", [EXCLUSIVE, REGIONS], ids=["exclusive", "regions"])
EVERY = pytest.mark.parametrize("name", list(LOSSES))
FLAT_AND_SOLID = pytest.mark.parametrize("size", [(9, 10), (5, 6, 7)], ids=["2-D", "3-D"])


def inputs(labels: Labels, size: tuple[int, ...], kind: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Three patches: with bars of both labels, with one of them and ignored voxels, and with none."""
    random = torch.Generator().manual_seed(len(size))
    target = torch.zeros(3, *size, dtype=torch.uint8)
    target[0, 1:4, 2:9], target[0, 4:6, 1:5], target[1, 2:5] = 1, 2, 2
    target[1, :2] = IGNORED
    return torch.randn(3, labels.heads, *size, generator=random, dtype=kind) * 2, target


def seen(labels: Labels, logits: Tensor, target: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of foreground heads: probability, truth, and which voxels count."""
    p = (logits.softmax(1)[:, 1:] if labels.exclusive else logits.sigmoid()).numpy()
    on = np.stack([target == 1, target == 2] if labels.exclusive else [(target == 1) | (target == 2), target == 2], 1)
    return p, on, np.broadcast_to((target != IGNORED).numpy()[:, None], p.shape)


def to_the_other_side(mask: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Each voxel's distance to the nearest on the other side, by looking at all."""
    found = np.zeros(mask.shape)
    places = np.argwhere(np.ones_like(mask)) * spacing
    for at, value in np.ndenumerate(mask):
        others = places[(mask != value).ravel()]
        found[at] = np.sqrt(((others - np.array(at) * spacing) ** 2).sum(1)).min() if len(others) else 0.0
    return found


def only(spec: Any, labels: Labels, logits: Tensor, target: Tensor, progress: float = 1.0) -> float:
    """The value of the loss's first term alone, the others being weighed by 0."""
    built = spec.build(labels)
    value: float = built.judge(built.measure(logits, target, SPACINGS[target.dim() - 1], progress)).item()
    return value


@BOTH_KINDS
@FLAT_AND_SOLID
def test_hausdorff_and_boundary_are_means_over_distances_in_mm(labels: Labels, size: tuple[int, ...]) -> None:
    logits, target = inputs(labels, size)
    (p, on, counted), spacing = seen(labels, logits, target), SPACINGS[len(size)]
    squared, signed = np.zeros(p.shape), np.zeros(p.shape)
    for place in np.ndindex(p.shape[:2]):
        far = to_the_other_side(on[place], spacing)
        predicted = to_the_other_side((p[place] > 0.5) & counted[place], spacing)
        squared[place] = (p[place] - on[place]) ** 2 * (far**1.5 + predicted**1.5)
        if on[place].any():
            signed[place] = (p[place] - on[place]) * np.where(on[place], min(spacing) - far, far)
    spec = hausdorff.Spec(2.0, 1.5, dice_weight=0.0, ce_weight=0.0)
    assert only(spec, labels, logits, target) == pytest.approx(2 * squared[counted].mean(), rel=1e-5)
    edge = boundary.Spec(3.0, start=0.2, dice_weight=0.0, ce_weight=0.0)
    expected = signed[counted].mean()
    for progress, weight in ((0.0, 0.6), (0.5, 1.8), (1.0, 3.0)):
        assert only(edge, labels, logits, target, progress) == pytest.approx(weight * expected, rel=1e-5)


def test_distances_follow_the_spacing_and_are_zero_without_a_border() -> None:
    masks = torch.zeros(1, 3, 3, 6, dtype=torch.bool)
    masks[0, 0, 1, 2:5], masks[0, 2] = True, True
    assert signed_distances(masks, (4.0, 0.5))[0, 0, 1].tolist() == [1.0, 0.5, 0.0, -0.5, 0.0, 0.5]
    assert signed_distances(masks, (4.0, 0.5))[0, 0, 0, 2:5].tolist() == [4.0, 4.0, 4.0]
    assert border_distances(masks, (4.0, 0.5))[0, 0, 1].tolist() == [1.0, 0.5, 0.5, 1.0, 0.5, 0.5]
    assert not signed_distances(masks, (4.0, 0.5))[0, 1:].any() and not border_distances(masks, (4.0, 0.5))[0, 1:].any()


def thinned(image: np.ndarray, iterations: int) -> np.ndarray:
    """The authors' soft skeleton with scipy's morphology of grey values."""
    cross, cube = ndimage.generate_binary_structure(image.ndim, 1), np.ones((3,) * image.ndim)

    def eroded(of: np.ndarray) -> np.ndarray:
        return ndimage.grey_erosion(of, footprint=cross, mode="nearest")

    def lost(of: np.ndarray) -> np.ndarray:
        return np.maximum(of - ndimage.grey_dilation(eroded(of), footprint=cube, mode="nearest"), 0)

    skeleton = lost(image)
    for _ in range(iterations):
        image = eroded(image)
        skeleton = skeleton + np.maximum(lost(image) - skeleton * lost(image), 0)
    return skeleton


@BOTH_KINDS
@FLAT_AND_SOLID
@pytest.mark.parametrize("batch", [False, True])
def test_cl_dice_is_the_harmonic_mean_of_shares_of_soft_skeletons(
    labels: Labels, size: tuple[int, ...], batch: bool
) -> None:
    logits, target = inputs(labels, size)
    p, on, counted = seen(labels, logits, target)
    volumes = np.zeros((4, *p.shape[:2]))
    for place in np.ndindex(p.shape[:2]):
        probability, truth = p[place] * counted[place], on[place].astype(float)
        found, wanted = thinned(probability, 2), thinned(truth, 2)
        volumes[(slice(None), *place)] = [each.sum() for each in (found * truth, found, wanted * probability, wanted)]
    right, predicted, reached, present = volumes.sum(1, keepdims=True) if batch else volumes
    precision, recall = (right + 1) / (predicted + 1), (reached + 1) / (present + 1)
    expected = 1 - (2 * precision * recall / (precision + recall)).mean()
    spec = cl_dice.Spec(iterations=2, batch_dice=batch, dice_weight=0.0, ce_weight=0.0)
    assert only(spec, labels, logits, target) == pytest.approx(expected, rel=1e-6)


def test_the_soft_skeleton_of_a_bar_is_its_middle() -> None:
    bar = torch.zeros(1, 1, 9, 15)
    bar[..., 3:6, 1:14] = 1
    skeleton = soft_skeleton(bar, 3)[0, 0]
    assert skeleton[4, 2:13].eq(1).all() and not skeleton[3, 3:12].any() and not skeleton[5, 3:12].any()


@BOTH_KINDS
@FLAT_AND_SOLID
def test_skeleton_recall_is_the_share_of_the_tube_that_is_found(labels: Labels, size: tuple[int, ...]) -> None:
    logits, target = inputs(labels, size)
    p, on, _ = seen(labels, logits, target)
    cross = ndimage.generate_binary_structure(len(size), 1)
    found, length = np.zeros(p.shape[:2]), np.zeros(p.shape[:2])
    for place in np.ndindex(p.shape[:2]):
        tube = (skeletonize(on[place]) > 0).astype(np.uint8) if on[place].any() else np.zeros(size, np.uint8)
        tube = dilation(dilation(tube, cross), cross) * on[place]
        found[place], length[place] = (p[place] * tube).sum(), tube.sum()
    assert length.any() and not length.all()
    spec = skeleton_recall.Spec(dice_weight=0.0, ce_weight=0.0, smooth=0.5)
    expected = 1 - ((found + 0.5) / (length + 0.5)).mean()
    assert only(spec, labels, logits, target) == pytest.approx(expected, rel=1e-6)
    together = 1 - ((found.sum(0) + 0.5) / (length.sum(0) + 0.5)).mean()
    spec = skeleton_recall.Spec(batch_dice=True, dice_weight=0.0, ce_weight=0.0, smooth=0.5)
    assert only(spec, labels, logits, target) == pytest.approx(together, rel=1e-6)


def test_a_tube_is_the_skeleton_made_thicker_within_its_label() -> None:
    masks = torch.zeros(1, 2, 11, 30, dtype=torch.bool)
    masks[0, 0, 1:10, 2:28] = True
    tube = tubed_skeletons(masks)[0]
    assert tube.dtype == torch.bool and not tube[1].any()
    assert tube[0, 3:8, 12:18].all() and not tube[0, :3, 12:18].any() and not tube[0, 8:, 12:18].any()
    assert not (tube[0] & ~masks[0, 0]).any()


@BOTH_KINDS
@pytest.mark.parametrize("gamma", [1.0, 1.5, 2.0])
def test_noise_robust_dice_is_the_authors_quotient(labels: Labels, gamma: float) -> None:
    logits, target = inputs(labels, (5, 6, 7))
    p, on, counted = seen(labels, logits, target)
    extra = 1 - p.sum(1, keepdims=True) if labels.exclusive else 1 - p
    p = np.concatenate([p, extra], 1)
    outside = (target == 0).numpy()[:, None] if labels.exclusive else ~on
    on, counted = np.concatenate([on, outside], 1), np.broadcast_to(counted[:, :1], p.shape)
    quotients = []
    for place in np.ndindex(p.shape[:2]):
        probability, truth = p[place][counted[place]], on[place][counted[place]].astype(float)
        if truth.any():
            wrong = (np.abs(probability - truth) ** gamma).sum()
            quotients.append(wrong / ((probability**2).sum() + truth.sum() + 1e-5))
    assert 0 < len(quotients) < p.shape[0] * p.shape[1]
    assert only(noise_robust.Spec(gamma), labels, logits, target) == pytest.approx(np.mean(quotients), rel=1e-6)


@BOTH_KINDS
def test_the_calibration_error_is_that_of_bins_of_probability(labels: Labels) -> None:
    logits, target = inputs(labels, (5, 6, 7))
    p, on, counted = seen(labels, logits, target)
    errors = []
    for place in np.ndindex(p.shape[:2]):
        probability, truth = p[place][counted[place]], on[place][counted[place]]
        bins = [(probability >= low / 7) & (probability < (low + 1) / 7) for low in range(7)]
        errors.append(np.mean([abs(probability[each].mean() - truth[each].mean()) for each in bins if each.any()]))
    spec = calibration.Spec(bins=7, dice_weight=0.0, ce_weight=0.0)
    assert only(spec, labels, logits, target) == pytest.approx(np.mean(errors), rel=1e-6)


def test_probabilities_that_are_as_large_as_they_are_right_cost_nothing() -> None:
    target = torch.zeros(1, 10, 10, dtype=torch.uint8)
    target[:, :3] = 1
    labels = ExclusiveLabels({"background": 0, "a": 1})
    sure = torch.stack((torch.zeros(1, 10, 10), torch.full((1, 10, 10), float(np.log(3 / 7)))), 1)
    for shift, error in ((0.0, 0.0), (float(np.log(7 / 3)), 0.2)):
        spec = calibration.Spec(dice_weight=0.0, ce_weight=0.0)
        assert only(spec, labels, sure + torch.tensor([0.0, shift]).view(1, 2, 1, 1), target) == pytest.approx(
            error, abs=1e-6
        )


@EVERY
@BOTH_KINDS
@FLAT_AND_SOLID
def test_its_gradient_is_the_slope_in_float64(name: str, labels: Labels, size: tuple[int, ...]) -> None:
    logits, target = inputs(labels, tuple(edge // 2 + 1 for edge in size))
    built = LOSSES.load(name)().build(labels)
    assert torch.autograd.gradcheck(lambda scores: built(scores, target), logits.requires_grad_(), fast_mode=True)


@EVERY
@BOTH_KINDS
def test_in_parts_it_is_what_it_is_as_a_whole(name: str, labels: Labels, monkeypatch: pytest.MonkeyPatch) -> None:
    logits, target = inputs(labels, (5, 6, 7))
    built, found = LOSSES.load(name)().build(labels), []
    for whole, size in ((1 << 23, 1 << 20), (0, 100), (0, 1)):
        monkeypatch.setattr(_recompute, "WHOLE", whole)
        monkeypatch.setattr(_recompute, "PART", size)
        scores = logits.clone().requires_grad_()
        value = built(scores, target)
        value.backward()
        found.append((value, scores.grad))
    assert len(_recompute.parts_along(logits, 2)) == 5
    for value, gradient in found[1:]:
        torch.testing.assert_close(value, found[0][0], rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(gradient, found[0][1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("whole", [0, 1 << 23])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_cross_entropy_is_torchs_bit_for_bit_the_same_every_time(
    whole: int, kind: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_recompute, "WHOLE", whole)
    monkeypatch.setattr(_recompute, "PART", 50)
    logits, target = inputs(EXCLUSIVE, (5, 6, 7), kind)
    found = []
    torch.use_deterministic_algorithms(True)
    try:
        for _ in range(2):
            for loss in (ce.Spec(), dice_ce.Spec()):
                scores = logits.clone().requires_grad_()
                value = loss.build(EXCLUSIVE)(scores, target)
                value.backward()
                found.append((value, scores.grad))
    finally:
        torch.use_deterministic_algorithms(False)
    scores = logits.clone().requires_grad_()
    expected = torch.nn.functional.cross_entropy(scores, target.long(), ignore_index=IGNORED)
    expected.backward()
    torch.testing.assert_close(found[0], (expected, scores.grad))
    assert all(torch.equal(*pair) for first, again in zip(found[:2], found[2:]) for pair in zip(first, again))


@pytest.mark.parametrize("spec", [ce.Spec(), dice_ce.Spec(), noise_robust.Spec(), calibration.Spec()])
def test_in_parts_nothing_is_kept_but_logits_and_targets(spec: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_recompute, "WHOLE", 0)
    monkeypatch.setattr(_recompute, "PART", 1)
    logits, target = inputs(EXCLUSIVE, (8, 8, 8), torch.bfloat16)
    kept = list[Tensor]()

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        spec.build(EXCLUSIVE)(logits.requires_grad_(), target)
    large = [tensor for tensor in kept if tensor.numel() >= 3 * 8**3]
    assert {tensor.untyped_storage().data_ptr() for tensor in large} == {
        tensor.untyped_storage().data_ptr() for tensor in (logits, target)
    }


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (boundary, {"start": 1.5}),
        (hausdorff, {"exponent": 0.0}),
        (hausdorff, {"exponent": 9.0}),
        (cl_dice, {"iterations": 0}),
        (cl_dice, {"iterations": 10**9}),
        (noise_robust, {"gamma": 0.5}),
        (calibration, {"bins": 10**9}),
        (skeleton_recall, {"recall_weight": -1.0}),
    ],
)
def test_impossible_numbers_are_refused(kind: Any, values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="|".join(values)):
        kind.Spec(**values)


def test_top_k_alone_has_nothing_to_add_up() -> None:
    logits, target = inputs(EXCLUSIVE, (5, 6))
    assert [each.shape for each in top_k.Spec().build(EXCLUSIVE).measure(logits, target)] == [(3, 1, 5, 6)]
