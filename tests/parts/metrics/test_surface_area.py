"""Surfaces by area equal what DeepMind's package measures, and what geometry says of boxes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as arrays

from autoseg.parts.metrics import surface_area
from autoseg.parts.metrics._surfels import Surfels

STORED = Path(__file__).with_name("lesion_scores.npz")
masks = arrays.arrays(bool, (4, 5, 6))


def score(reference, prediction, spacing=(1.0, 1.0, 1.0), tolerance=1.0):
    return surface_area.Spec(tolerance_mm=tolerance).score(reference, prediction, spacing)


@pytest.mark.parametrize("grid", range(5))
def test_scores_equal_deepminds(grid) -> None:
    """Made by benchmarks/oracle_lesions.py with surface-distance-based-measures 0.1; the last two grids are 2-D."""
    with np.load(STORED, allow_pickle=False) as stored:
        pairs, spacing, expected = (stored[f"{name}_{grid}"] for name in ("masks", "spacing", "surfaces"))
    for (reference, prediction), (nsd, hd95) in zip(pairs, expected):
        found = score(reference, prediction, tuple(spacing))
        assert found["nsd_area_1mm"] == pytest.approx(nsd, rel=1e-9)
        assert found["hd95_area_mm"] == pytest.approx(hd95, rel=1e-9)
        assert 0.05 < nsd < 0.95


def test_a_box_has_the_area_of_its_faces_but_for_its_edges() -> None:
    """Around a box every edge is cut off half way: per piece of an edge the diagonal instead of two half edges."""
    z, y, x = 3.0, 2.0, 1.0
    box = np.zeros((30, 30, 30), bool)
    box[5:25, 5:25, 5:25] = True
    area = Surfels.of(box, (z, y, x)).areas.sum()
    faces = 2 * 19 * 19 * (z * y + z * x + y * x)
    edges = 4 * 19 * (z * math.hypot(y, x) + y * math.hypot(z, x) + x * math.hypot(z, y)) / 2
    assert area == pytest.approx(faces + edges, rel=1e-2) and area > faces + edges  # and eight corners
    flat = Surfels.of(box[10], (y, x)).areas.sum()
    assert flat == pytest.approx(2 * 19 * (y + x) + 4 * math.hypot(y, x) / 2)


@settings(max_examples=30, deadline=None)
@given(masks)
def test_the_surface_of_a_mask_is_that_of_what_it_leaves_but_for_the_border(mask) -> None:
    around = np.pad(mask, 2)
    inside, outside = Surfels.of(around, (1, 1, 1)), Surfels.of(~around, (1, 1, 1))
    border = Surfels.of(np.ones_like(around), (1, 1, 1))
    assert inside.areas.sum() == pytest.approx(outside.areas.sum() - border.areas.sum())
    assert (inside.areas > 0).all()


def test_surfaces_of_numbered_masks_are_those_of_each_alone() -> None:
    numbered = np.zeros((9, 9, 9), np.uint8)
    numbered[1:3, 1:4, 1:4], numbered[5:8, 5:8, 2:8] = 1, 3
    nothing, one, none, three = Surfels.of(numbered, (2.0, 1.0, 1.0)).split(3)
    assert not len(nothing.areas) and not len(none.areas)
    for number, part in ((1, one), (3, three)):
        alone = Surfels.of(numbered == number, (2.0, 1.0, 1.0))
        np.testing.assert_allclose(part.points, alone.points)
        np.testing.assert_allclose(part.areas, alone.areas)
    both = Surfels.joined([one, three])
    assert both.areas.sum() == pytest.approx(one.areas.sum() + three.areas.sum())


def test_the_percentile_weighs_by_area() -> None:
    surface = Surfels(np.zeros((3, 3)), np.array([94.0, 1.0, 5.0]), np.ones(3, int))
    assert surface.percentile(np.array([1.0, 7.0, 9.0])) == 7
    assert surface.percentile(np.array([7.0, 1.0, 9.0])) == 7
    assert surface.percentile(np.array([1.0, 9.0, 7.0])) == 7


def test_a_shift_of_two_slices_is_their_distance_in_mm() -> None:
    reference, prediction = np.zeros((2, 12, 12, 12), bool)
    reference[2:3, 3:9, 3:9] = True
    prediction[4:5, 3:9, 3:9] = True
    assert score(reference, prediction, (3.0, 1.0, 1.0))["hd95_area_mm"] == 6
    assert score(reference, prediction, (3.0, 1.0, 1.0), tolerance=6.0)["nsd_area_6mm"] == 1


def test_one_empty_mask_is_infinitely_far_and_two_are_undefined() -> None:
    nothing, something = np.zeros((3, 3, 3), bool), np.ones((3, 3, 3), bool)
    for pair in ((nothing, something), (something, nothing)):
        assert score(*pair) == {"nsd_area_1mm": 0, "hd95_area_mm": math.inf}
    assert all(math.isnan(value) for value in score(nothing, nothing).values())
    assert all(math.isnan(value) for value in score(*np.zeros((2, 0, 0, 0), bool)).values())


def test_a_negative_tolerance_is_refused() -> None:
    with pytest.raises(ValueError, match="tolerance_mm must not be negative, found -1"):
        surface_area.Spec(tolerance_mm=-1)
