"""A correction changes the label it names, and what follows from that for the others."""

from __future__ import annotations

import numpy as np
import pytest

from autoseg.core.geometry import Geometry
from autoseg.core.labels import ExclusiveLabels, Labels, RegionLabels
from autoseg.core.masks import MaskLabels
from autoseg.corrections import Correction, corrected
from autoseg.parts.postprocessors import fill_holes, largest_component, minimum_size

ORGANS = ExclusiveLabels({"background": 5, "liver": 7, "tumour": 2})
TUMOUR = RegionLabels({"whole": (1, 2, 3), "core": (2, 3), "active": (3,)}, (1, 2, 3))
MASKS = MaskLabels(("lung", "heart"))
LARGEST, FILL = largest_component.Spec(), fill_holes.Spec()


def run(rows: list[str], labels: Labels, *steps: Correction) -> list[str]:
    """Label maps of one slice, drawn as digits."""
    array = np.array([[int(letter) for letter in row] for row in rows], np.uint8)[None]
    geometry = Geometry.plain_2d(array.shape[1:])
    result = corrected(array, steps, labels, geometry)
    assert result.dtype == array.dtype
    return ["".join(map(str, row)) for row in result[0]]


def test_what_a_label_loses_becomes_background() -> None:
    assert run(["7755755", "7755552"], ORGANS, Correction("liver", LARGEST)) == ["7755555", "7755552"]


def test_labels_together_are_one_mask() -> None:
    assert run(["7725575", "7725522"], ORGANS, Correction(None, LARGEST)) == ["7725555", "7725555"]


def test_a_filled_hole_takes_background_but_no_other_label() -> None:
    assert run(["77777", "75727", "77777"], ORGANS, Correction("liver", FILL)) == ["77777", "77727", "77777"]


def test_a_region_takes_the_regions_inside_it_along() -> None:
    rows = ["1230012", "1110011"]
    assert run(rows, TUMOUR, Correction("whole", LARGEST)) == ["1230000", "1110000"]


def test_what_a_region_inside_loses_remains_part_of_those_around_it() -> None:
    rows = ["1221131", "1221111"]
    assert run(rows, TUMOUR, Correction("core", LARGEST)) == ["1221111", "1221111"]


def test_a_correction_that_clears_leaves_background_within_the_regions_around() -> None:
    rows = ["1221131", "1221111"]
    assert run(rows, TUMOUR, Correction("core", LARGEST, clears=True)) == ["1221101", "1221111"]


def test_what_a_region_gains_the_regions_around_it_gain_as_well() -> None:
    rows = ["33333", "30123", "33333"]
    assert run(rows, TUMOUR, Correction("core", FILL)) == ["33333", "32223", "33333"]


def test_steps_follow_each_other() -> None:
    rows = ["777775", "755575", "777775", "555557"]
    steps = (Correction("liver", FILL), Correction("liver", minimum_size.Spec(12.0)))
    assert run(rows, ORGANS, *steps) == ["777775", "777775", "777775", "555557"]
    assert run(rows, ORGANS, *reversed(steps)) == ["777775", "777775", "777775", "555557"]
    assert run(rows, ORGANS, Correction("liver", minimum_size.Spec(14.0)), steps[0]) == ["555555"] * 4


def test_the_map_that_was_given_stays_as_it_is() -> None:
    array = np.full((4, 5, 6), 5, np.int16)
    array[0, 0, 0] = array[3, 4, 4] = array[3, 4, 5] = 7
    before = array.copy()
    after = corrected(array[:, ::-1], [Correction("liver", LARGEST)], ORGANS, Geometry.plain(array.shape, (1.0,) * 3))
    np.testing.assert_array_equal(array, before)
    assert (after == 7).sum() == 2 and (after == 5).sum() == after.size - 2


@pytest.mark.parametrize("labels", [ORGANS, TUMOUR])
def test_an_empty_map_stays_empty(labels: Labels) -> None:
    empty = np.full((3, 4, 5), labels.values[0], np.uint8)
    for name in (None, *labels.foreground):
        for method in (LARGEST, FILL):
            after = corrected(empty, [Correction(name, method)], labels, Geometry.plain(empty.shape, (1.0,) * 3))
            np.testing.assert_array_equal(after, empty)


def test_a_mask_is_corrected_whatever_others_are_there() -> None:
    rows = ["1132031", "1132231"]
    assert run(rows, MASKS, Correction("lung", LARGEST)) == ["1132020", "1132220"]
    assert run(["2203", "2200"], MASKS, Correction("heart", LARGEST)) == ["2201", "2200"]


def test_a_hole_in_a_mask_is_filled_where_another_mask_lies() -> None:
    assert run(["11111", "12021", "11111"], MASKS, Correction("lung", FILL)) == ["11111", "13131", "11111"]


def test_masks_together_are_one_foreground() -> None:
    assert run(["1120003", "1120000"], MASKS, Correction(None, LARGEST)) == ["1120000", "1120000"]
