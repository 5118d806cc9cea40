"""A label's voxels are remembered by a sample that leaves out no part of it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from autoseg.core.labels import ExclusiveLabels
from autoseg.core.masks import MaskLabels
from autoseg.preprocessing import locations as module
from autoseg.preprocessing.locations import Locations, class_locations

LABELS = ExclusiveLabels({"background": 0, "a": 1, "b": 2, "c": 3})
SCRIBBLES = ExclusiveLabels({"background": 0, "a": 1, "b": 2, "c": 3}, ignore=9)


def test_a_sample_is_of_its_label_and_has_no_voxel_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOCATIONS", 20)
    indices = np.zeros((12, 13, 14), np.uint8)
    indices[:6], indices[7:] = 1, 3
    found = class_locations(indices, LABELS)
    assert found.present == {1: 6 * 13 * 14, 3: 5 * 13 * 14}
    for index in found.present:
        positions = found.of_label(index)
        assert positions.dtype == np.int32
        assert len(np.unique(positions, axis=0)) == len(positions) == 20
        assert (indices[tuple(positions.T)] == index).all()


def test_one_percent_of_a_large_label_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOCATIONS", 20)
    assert len(class_locations(np.ones((20, 20, 20), np.uint8), LABELS).of_label(1)) == 80


def test_ignored_voxels_are_nowhere_and_annotated_background_is_remembered() -> None:
    indices = np.zeros((4, 4, 4), np.uint8)
    indices[0], indices[1] = 1, SCRIBBLES.ignore_index or 0
    found = class_locations(indices, SCRIBBLES)
    assert found.present == {0: 32, 1: 16}
    assert {index: len(found.of_label(index)) for index in found.present} == found.present


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.02, 0.5))
def test_every_part_of_every_label_is_there_with_its_size(seed: int, density: float) -> None:
    random = np.random.default_rng(seed)
    indices = (random.integers(1, 4, (6, 7, 8)) * (random.random((6, 7, 8)) < density)).astype(np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LOCATIONS", 5)
        found = class_locations(indices, LABELS)
    sizes = {}
    for index in range(1, 4):
        parts, count = ndimage.label(indices == index, np.ones((3, 3, 3)))
        sizes[index] = sorted(np.bincount(parts.ravel())[1:].tolist())
        seen = {int(parts[tuple(voxel)]) for voxel in found.of_label(index)} if count else set()
        assert seen == set(range(1, count + 1))
    assert {index: sorted(found.sizes[found.labels == index].tolist()) for index in sizes} == sizes


def test_a_part_drawn_first_comes_as_often_as_any_other() -> None:
    indices = np.zeros((1, 20, 20), np.uint8)
    indices[0, :, :15], indices[0, 3, 17], indices[0, 9, 19] = 1, 1, 1
    found, random = class_locations(indices, LABELS), np.random.default_rng(0)
    by_voxel = Counter(tuple(found.draw(1, random)) for _ in range(1000))
    by_part = Counter(tuple(found.draw(1, random, part_first=True)) for _ in range(1000))
    specks = ((0, 3, 17), (0, 9, 19))
    assert all(by_voxel[speck] < 20 for speck in specks)  # expected 3
    assert all(270 < by_part[speck] < 400 for speck in specks)  # expected 333


def test_positions_given_by_hand_are_one_part_per_label() -> None:
    found = Locations.of({2: np.array([[1, 2, 3]]), 1: np.array([[0, 0, 0], [4, 4, 4]]), 3: np.empty((0, 3))})
    assert found.present == {1: 2, 2: 1}
    assert found.of_label(1).tolist() == [[0, 0, 0], [4, 4, 4]] and found.of_label(2).tolist() == [[1, 2, 3]]
    assert tuple(found.draw(2, np.random.default_rng(0))) == (1, 2, 3)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 16), st.floats(0.02, 0.6))
def test_each_mask_has_its_voxels_whatever_overlaps_them(seed: int, count: int, density: float) -> None:
    random, labels = np.random.default_rng(seed), MaskLabels(tuple(f"m{number}" for number in range(count)))
    masks = random.random((count, 5, 6, 7)) < density
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LOCATIONS", 5)
        found = class_locations(labels.joined(masks, masks.shape[1:]), labels)
    assert found.present == {number: int(mask.sum()) for number, mask in enumerate(masks, 1) if mask.any()}
    for number in found.present:
        parts, pieces = ndimage.label(masks[number - 1], np.ones((3, 3, 3)))
        assert {int(parts[tuple(voxel)]) for voxel in found.of_label(number)} == set(range(1, pieces + 1))
        assert masks[number - 1][tuple(found.draw(number, random, part_first=bool(seed % 2)))]
