"""Surface distances equal brute force and MONAI."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from autoseg.core.family import Family
from autoseg.parts.metrics import overlap, surface

STORED = Path(__file__).with_name("monai_scores.npz")
masks = arrays.arrays(bool, (4, 5, 6))
spacings = st.tuples(*[st.floats(0.3, 5)] * 3)


def score(reference, prediction, spacing=(1.0, 1.0, 1.0), tolerance=1.0):
    return surface.Spec(tolerance).score(reference, prediction, spacing)


def brute_force_surface(mask):
    padded = np.pad(mask, 1)
    steps = [step * sign for step in np.eye(3, dtype=int) for sign in (1, -1)]
    return np.array([p for p in np.argwhere(mask) if not all(padded[tuple(p + 1 + step)] for step in steps)])


@settings(max_examples=40, deadline=None)
@given(masks, masks, spacings, st.floats(0, 4))
def test_scores_equal_all_pairs_of_surface_voxels(reference, prediction, spacing, tolerance) -> None:
    if not reference.any() or not prediction.any():
        return
    a, b = (brute_force_surface(mask) * np.array(spacing) for mask in (reference, prediction))
    distances = np.linalg.norm(a[:, None] - b[None], axis=2)
    there, back = distances.min(axis=1), distances.min(axis=0)
    found = score(reference, prediction, spacing, tolerance)
    assert found["hd95_mm"] == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)))
    assert found["assd_mm"] == pytest.approx((there.sum() + back.sum()) / (len(there) + len(back)))
    agreeing = (there <= tolerance + 1e-6).sum() + (back <= tolerance + 1e-6).sum()
    assert found[f"nsd_{tolerance:g}mm"] == pytest.approx(agreeing / (len(there) + len(back)))


@pytest.mark.parametrize("grid", range(3))
def test_scores_equal_monai(grid) -> None:
    """Made by benchmarks/oracle_metrics.py with MONAI 1.6.1."""
    with np.load(STORED, allow_pickle=False) as stored:
        pairs, spacing, expected = (stored[f"{name}_{grid}"] for name in ("masks", "spacing", "scores"))
    for (reference, prediction), (dice, iou, hd95, assd, nsd) in zip(pairs, expected):
        found = score(reference, prediction, spacing) | overlap.Spec().score(reference, prediction, spacing)
        assert found["dice"] == pytest.approx(dice, rel=1e-6)
        assert found["iou"] == pytest.approx(iou, rel=1e-6)
        assert found["hd95_mm"] == pytest.approx(hd95, rel=1e-5)
        assert found["assd_mm"] == pytest.approx(assd, rel=1e-5)
        assert found["nsd_1mm"] == pytest.approx(nsd, rel=1e-5)


def test_a_shift_of_two_slices_is_their_distance_in_mm() -> None:
    reference, prediction = np.zeros((2, 12, 12, 12), bool)
    reference[2:3, 3:9, 3:9] = True
    prediction[4:5, 3:9, 3:9] = True
    assert score(reference, prediction, (3.0, 1.0, 1.0)) == {"hd95_mm": 6, "assd_mm": 6, "nsd_1mm": 0}
    assert score(reference, prediction, (3.0, 1.0, 1.0), tolerance=6.0)["nsd_6mm"] == 1


def test_distances_scale_with_the_spacing() -> None:
    generator = np.random.default_rng(1)
    reference, prediction = generator.random((2, 6, 7, 8)) > 0.5
    small, large = (score(reference, prediction, np.array((2.0, 1.0, 0.5)) * factor) for factor in (1, 10))
    assert large["hd95_mm"] == pytest.approx(10 * small["hd95_mm"])
    assert large["assd_mm"] == pytest.approx(10 * small["assd_mm"])


def test_cropping_to_both_masks_changes_nothing() -> None:
    generator = np.random.default_rng(2)
    pair = np.zeros((2, 14, 14, 14), bool)
    pair[:, 4:10, 5:11, 3:9] = generator.random((2, 6, 6, 6)) > 0.5
    cropped = pair[:, 4:10, 5:11, 3:9]
    assert score(*pair) == pytest.approx(score(*cropped))


def test_identical_masks_are_at_distance_zero() -> None:
    mask = np.random.default_rng(3).random((5, 6, 7)) > 0.6
    assert score(mask, mask) == {"hd95_mm": 0, "assd_mm": 0, "nsd_1mm": 1}


def test_one_empty_mask_is_infinitely_far_and_two_are_undefined() -> None:
    nothing, something = np.zeros((3, 3, 3), bool), np.ones((3, 3, 3), bool)
    for pair in ((nothing, something), (something, nothing)):
        assert score(*pair) == {"hd95_mm": math.inf, "assd_mm": math.inf, "nsd_1mm": 0}
    assert all(math.isnan(value) for value in score(nothing, nothing).values())


def test_a_negative_tolerance_is_refused() -> None:
    with pytest.raises(ValueError, match="tolerance_mm must not be negative, found -1"):
        surface.Spec(-1)


def test_every_metric_returns_numbers_for_two_dimensions_and_for_three() -> None:
    family = Family("autoseg.parts.metrics", "Spec")
    assert {"overlap", "surface"} <= set(family)
    for name in family:
        for shape in ((4, 5), (3, 4, 5)):
            mask = np.zeros(shape, bool)
            mask[1:, 1:] = True
            scores = family.load(name)().score(mask, mask, (1.5,) * len(shape))
            assert scores and all(isinstance(value, float) for value in scores.values())
