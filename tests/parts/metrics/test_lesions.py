"""Lesion scores: by hand, by the definition of BraTS 2023 step by step, and their rules for what is empty."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.ndimage import binary_dilation, generate_binary_structure

from autoseg.core.extent import Extent
from autoseg.parts.metrics import lesions

STORED = Path(__file__).with_name("lesion_scores.npz")
UNIT = (1.0, 1.0, 1.0)


def score(reference, prediction, spacing=UNIT, image=None, **settings_):
    return lesions.Spec(**settings_).score(reference, prediction, spacing, image)


@pytest.mark.parametrize("pair", range(4))
@pytest.mark.parametrize("challenge", range(3))
def test_scores_equal_the_definition_step_by_step(pair, challenge) -> None:
    """Made by benchmarks/oracle_lesions.py with SciPy and DeepMind's surface-distance-based-measures 0.1."""
    with np.load(STORED, allow_pickle=False) as stored:
        reference, prediction = stored["lesion_masks"][pair]
        (grow, smallest), expected = stored["challenges"][challenge], stored["lesions"][pair, challenge]
    image = Extent(reference.size, 374.0, 0.001)
    found = score(reference, prediction, image=image, dilation_mm=float(grow), minimum_mm3=float(smallest))
    dice, hd95, true, missed, wrong = expected
    assert found["lesion_dice"] == pytest.approx(dice)
    assert found["lesion_hd95_mm"] == pytest.approx(hd95)
    assert (found["lesions"], found["missed_lesions"]) == (true + missed, missed)
    assert found["false_positive_lesions"] == wrong
    assert found["lesion_sensitivity"] == pytest.approx(true / (true + missed))
    assert found["lesion_f1"] == pytest.approx(2 * true / (2 * true + missed + wrong))


def scene():
    """Three lesions: one found exactly, one found by half, one missed; and one false positive."""
    reference, prediction = np.zeros((2, 10, 40, 40), bool)
    reference[2:6, 2:6, 2:6] = prediction[2:6, 2:6, 2:6] = True
    reference[2:6, 2:6, 20:24] = True
    prediction[2:4, 2:6, 20:24] = True
    reference[2:4, 20:22, 2:4] = True
    prediction[6:8, 30:32, 30:32] = True
    return reference, prediction


def test_by_hand() -> None:
    reference, prediction = scene()
    found = score(reference, prediction)
    diagonal = math.sqrt(10**2 + 40**2 + 40**2)
    assert found["lesion_dice"] == pytest.approx((1 + 2 * 32 / (64 + 32) + 0 + 0) / 4)
    assert found["lesion_sensitivity"] == pytest.approx(2 / 3)
    assert found["lesion_precision"] == pytest.approx(2 / 3)
    assert found["lesion_f1"] == pytest.approx(4 / 6)
    assert (found["lesions"], found["missed_lesions"], found["false_positive_lesions"]) == (3, 1, 1)
    assert found["lesion_hd95_mm"] == pytest.approx((0 + 2 + 2 * diagonal) / 4)


def test_what_lies_closer_than_twice_the_dilation_is_one_lesion() -> None:
    reference = np.zeros((8, 20, 20), bool)
    reference[2:4, 2:4, 2:4] = reference[2:4, 2:4, 8:10] = True  # four voxels between them
    assert score(reference, reference, dilation_mm=3.0)["lesions"] == 1
    assert score(reference, reference, dilation_mm=2.0)["lesions"] == 1  # grown, they touch
    assert score(reference, reference, dilation_mm=1.0)["lesions"] == 2
    assert score(reference, reference, (2.0, 2.0, 2.0), dilation_mm=3.0)["lesions"] == 2  # one step of 2 mm


def test_a_part_near_a_lesion_finds_it_and_its_whole_volume_counts() -> None:
    reference, prediction = np.zeros((2, 8, 20, 20), bool)
    reference[2:4, 2:4, 2:4] = True
    prediction[2:4, 2:4, 6:8] = True  # 2 mm beside it
    near, far = (score(reference, prediction, dilation_mm=mm) for mm in (3.0, 1.0))
    assert near["lesion_dice"] == 0 and near["lesion_sensitivity"] == 1 and near["false_positive_lesions"] == 0
    assert far["lesion_sensitivity"] == 0 and far["false_positive_lesions"] == 1
    assert near["lesion_hd95_mm"] < far["lesion_hd95_mm"]


def test_one_part_may_find_several_lesions() -> None:
    reference, prediction = np.zeros((2, 6, 6, 40), bool)
    reference[2:4, 2:4, 2:4] = reference[2:4, 2:4, 30:32] = True
    prediction[2:4, 2:4, 2:32] = True
    found = score(reference, prediction)
    assert found["lesions"] == 2 and found["missed_lesions"] == found["false_positive_lesions"] == 0
    assert found["lesion_dice"] == pytest.approx(2 * 8 / (8 + 120))


def test_small_lesions_count_for_nothing_nor_does_what_finds_them() -> None:
    reference, prediction = scene()
    found = score(reference, prediction, minimum_mm3=8)
    assert (found["lesions"], found["missed_lesions"], found["false_positive_lesions"]) == (2, 0, 1)
    spared = score(reference, reference, minimum_mm3=8)
    assert spared["false_positive_lesions"] == 0 and spared["lesion_dice"] == 1
    assert score(reference, prediction, (1.0, 1.0, 1.01), minimum_mm3=8)["lesions"] == 3


def test_what_is_empty() -> None:
    nothing, something = np.zeros((5, 6, 7), bool), np.zeros((5, 6, 7), bool)
    something[1:3, 1:3, 1:3] = True
    image = Extent.of((5, 6, 7), UNIT)
    both = score(nothing, nothing)
    assert (both["lesions"], both["missed_lesions"], both["false_positive_lesions"]) == (0, 0, 0)
    assert all(math.isnan(value) for name, value in both.items() if name.startswith("lesion_"))
    assert score(*np.zeros((2, 0, 0, 0), bool), image=image)["lesions"] == 0
    missed, invented = score(something, nothing), score(nothing, something)
    assert missed["lesion_dice"] == invented["lesion_dice"] == 0
    assert missed["lesion_hd95_mm"] == invented["lesion_hd95_mm"] == pytest.approx(image.diagonal_mm)
    assert missed["lesion_sensitivity"] == 0 and math.isnan(missed["lesion_precision"])
    assert invented["lesion_precision"] == 0 and math.isnan(invented["lesion_sensitivity"])
    ignored = score(something, something, minimum_mm3=8)
    assert ignored["lesions"] == ignored["false_positive_lesions"] == 0 and math.isnan(ignored["lesion_dice"])


def test_in_2d_pixels_that_share_a_corner_are_one_lesion() -> None:
    reference = np.zeros((20, 20), bool)
    reference[2, 2] = reference[3, 3] = reference[15, 15] = True
    found = score(reference, reference, (0.5, 0.5), dilation_mm=0.0)
    assert found["lesions"] == 2 and found["lesion_dice"] == 1 and found["lesion_hd95_mm"] == 0
    assert score(reference, reference, (0.5, 0.5), dilation_mm=0.0, minimum_mm3=0.25)["lesions"] == 1


small = arrays.arrays(bool, (5, 6, 7), elements=st.sampled_from([False, False, False, False, True]))


@settings(max_examples=40, deadline=None)
@given(small, small, st.sampled_from([0.0, 1.0, 2.0]))
def test_the_box_around_both_masks_is_enough(reference, prediction, dilation) -> None:
    around = [np.pad(mask, 4) for mask in (reference, prediction)]
    image = Extent.of((5, 6, 7), UNIT)
    whole = score(*around, image=image, dilation_mm=dilation)
    assert score(reference, prediction, image=image, dilation_mm=dilation) == pytest.approx(whole, nan_ok=True)


@settings(max_examples=40, deadline=None)
@given(small, st.integers(0, 3))
def test_growing_takes_steps_over_faces_and_edges(mask, steps) -> None:
    expected = mask
    if steps:
        expected = binary_dilation(mask, generate_binary_structure(3, 2), iterations=steps)
    np.testing.assert_array_equal(lesions.dilated(mask, UNIT, float(steps)), expected)


def test_growing_goes_as_far_as_the_spacing_of_each_axis_lets_it() -> None:
    mask = np.zeros((9, 21, 21), bool)
    mask[4, 10, 10] = True
    grown = lesions.dilated(mask, (5.0, 1.0, 0.5), 3.0)
    assert [np.ptp(axis) // 2 for axis in np.nonzero(grown)] == [0, 3, 6]


@pytest.mark.parametrize("wrong", [{"dilation_mm": -1}, {"dilation_mm": math.nan}, {"minimum_mm3": -1}])
def test_settings_out_of_range_are_refused(wrong) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        lesions.Spec(**wrong)
