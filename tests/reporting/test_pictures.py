"""What is drawn of a case: the right labels, the right errors, no more than fits."""

from __future__ import annotations

import numpy as np
import pytest
from reported import pixels

from autoseg.core.geometry import Geometry, Image
from autoseg.core.labels import ExclusiveLabels, RegionLabels
from autoseg.core.masks import MaskLabels
from autoseg.errors import DatasetError
from autoseg.reporting.pictures import ADDED, MISSED, MOST_PIXELS, OTHER, drawing_of, legend, outline, picture

TWO = ExclusiveLabels({"background": 0, "organ": 5, "lesion": 2}, ignore=9)


def drawn(reference, prediction, labels, at_errors=True):
    image = Image(np.random.default_rng(0).random((1, *reference.shape)).astype(np.float32), plain(reference))
    drawing = drawing_of(image, reference, prediction, labels)
    return picture("case", "told", drawing, labels, at_errors=at_errors).views[0]


def plain(array: np.ndarray) -> Geometry:
    return Geometry.plain(array.shape, (2.0, 1.0, 1.0))


def test_errors_are_told_apart_and_what_is_not_annotated_is_none() -> None:
    reference, prediction = np.zeros((2, 3, 4, 4), np.uint8)
    reference[1, 0] = [5, 5, 0, 9]
    prediction[1, 0] = [0, 2, 2, 5]
    view = drawn(reference, prediction, TWO)
    assert view.place.startswith("slice 2 of 3")
    assert pixels(view.errors)[0].tolist() == [MISSED, OTHER, ADDED, 0]
    assert pixels(view.reference)[0].tolist() == [2, 2, 0, 3]  # labels are ordered by value: lesion, organ
    assert [name for name, _ in legend(TWO)] == ["lesion", "organ", "not annotated"]


def test_the_label_that_lies_on_top_is_drawn() -> None:
    regions = RegionLabels({"whole": (1, 2), "core": (2,)}, (1, 2))
    array = np.zeros((1, 2, 3), np.uint8)
    array[0, 0] = [0, 1, 2]
    assert pixels(drawn(array, array, regions).reference)[0].tolist() == [0, 1, 2]
    masks = MaskLabels(("lung", "heart"))
    array[0, 0] = [1, 2, 3]
    assert pixels(drawn(array, array, masks).reference)[0].tolist() == [1, 2, 2]


def test_the_outline_runs_along_every_edge_of_a_voxel_and_no_other() -> None:
    assert outline(np.zeros((3, 3), int)) == ""
    one = np.zeros((3, 4), int)
    one[1, 1:3] = 1
    assert sorted(outline(one).split("M")[1:]) == sorted(["1 1h2", "1 2h2", "1 1v1", "3 1v1"])
    whole = np.ones((2, 2), int)  # at the border of the picture, too
    assert sorted(outline(whole).split("M")[1:]) == sorted(["0 0h2", "0 2h2", "0 0v2", "2 0v2"])


@pytest.mark.parametrize("edge", [MOST_PIXELS + 1, 3 * MOST_PIXELS + 7])
def test_large_slices_are_made_smaller_and_say_so(edge: int) -> None:
    array = np.zeros((1, edge, 5), np.uint8)
    array[0, edge // 2 :] = 5
    view = drawn(array, None, TWO)
    grey, label = pixels(view.image), pixels(view.reference)
    assert grey.shape == label.shape == (view.height, view.width)
    assert max(grey.shape) <= MOST_PIXELS and "times smaller" in view.place
    assert abs(np.count_nonzero(label[:, 0]) / len(label) - 0.5) < 0.01


def test_an_image_without_values_or_labels_can_be_drawn() -> None:
    image = Image(np.full((1, 2, 3, 4), np.nan, np.float32), Geometry.plain((2, 3, 4), (1.0, 1.0, 1.0)))
    nothing = np.zeros((2, 3, 4), np.uint8)
    views = picture("case", "", drawing_of(image, nothing, nothing, TWO), TWO, at_errors=True).views
    assert all(not pixels(view.reference).any() and not pixels(view.errors).any() for view in views)


def test_a_label_map_of_another_size_is_an_error() -> None:
    image = Image(np.zeros((1, 2, 3, 4), np.float32), Geometry.plain((2, 3, 4), (1.0, 1.0, 1.0)))
    with pytest.raises(DatasetError, match="prediction has"):
        drawing_of(image, np.zeros((2, 3, 4), np.uint8), np.zeros((2, 3, 5), np.uint8), TWO)
