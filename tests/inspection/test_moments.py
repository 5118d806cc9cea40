"""Where labels lie: the numbers are those that all voxel positions together would give."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from autoseg.core.labels import ExclusiveLabels, RegionLabels
from autoseg.core.masks import MaskLabels
from autoseg.inspection import moments
from autoseg.inspection.moments import label_moments, pooled, turned
from autoseg.inspection.scan import foreground_of

SHAPE = (5, 6, 7)
LABELS = ExclusiveLabels({"background": 0, "b": 9, "a": 4, "c": 200}, ignore=7)


def positions(labels: np.ndarray, value: int) -> np.ndarray:
    """(n, 3): centres of the voxels as shares of the edges."""
    found: np.ndarray = (np.argwhere(labels == value) + 0.5) / labels.shape
    return found


def measured(labels: np.ndarray) -> np.ndarray:
    return label_moments(labels, foreground_of(labels, LABELS), LABELS)


@given(st.integers(0, 50))
def test_moments_are_those_of_the_voxel_positions(seed: int) -> None:
    labels = np.random.default_rng(seed).choice([0, 4, 9, 7], SHAPE)
    rows = measured(labels)
    for row, value in zip(rows, (4, 9)):  # ascending values, as label indices count
        where = positions(labels, value)
        covariance = np.cov(where.T, bias=True)
        assert row[0] == pytest.approx(len(where) / labels.size)
        np.testing.assert_allclose(row[1:4], where.mean(axis=0))
        np.testing.assert_allclose(row[4:], [covariance[a, b] for a, b in moments.PAIRS], atol=1e-12)
    assert np.isnan(rows[2]).all()  # no voxel holds 200


def test_slabs_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.random.default_rng(0).choice([0, 4, 9, 200], SHAPE)
    whole = measured(labels)
    monkeypatch.setattr(moments, "VOXELS_AT_ONCE", 2 * 6 * 7)
    np.testing.assert_allclose(measured(labels), whole)


def test_regions_are_measured_value_by_value() -> None:
    meaning = RegionLabels({"whole": (1, 2), "core": (2,)}, class_order=(1, 2))
    labels = np.random.default_rng(0).integers(0, 3, SHAPE)
    found = label_moments(labels, foreground_of(labels, meaning), meaning)
    np.testing.assert_allclose(found[:, 1:4], [positions(labels, value).mean(axis=0) for value in (1, 2)])


def test_cases_of_equal_weight_are_pooled_as_if_their_voxels_were_one_cloud() -> None:
    generator = np.random.default_rng(0)
    cases = []
    for _ in range(4):
        labels = np.zeros(30, int)
        labels[generator.choice(30, 8, replace=False)] = 4
        cases.append(labels.reshape(2, 3, 5))
    structure, absent, _ = pooled([measured(labels) for labels in cases])
    assert absent is None
    assert structure is not None
    cloud = np.concatenate([positions(labels, 4) for labels in cases])
    covariance = np.cov(cloud.T, bias=True)
    assert structure.cases == 4
    assert structure.share == pytest.approx(8 / 30)
    np.testing.assert_allclose(structure.centre, cloud.mean(axis=0))
    np.testing.assert_allclose(structure.covariance, [covariance[a, b] for a, b in moments.PAIRS])


def test_cases_without_a_label_do_not_count_for_it() -> None:
    labels = np.zeros(SHAPE, int)
    labels[1:3, 2, 3:6] = 9
    with_it, without = measured(labels), measured(np.full(SHAPE, 4))
    assert pooled([with_it, without])[1] == pooled([with_it])[1]


@pytest.mark.parametrize("codes", ["PSR", "ASL", "SRP", "PLS", "LSA"])
def test_moments_are_turned_as_itk_turns_the_label_map(codes: str) -> None:
    labels = np.random.default_rng(0).choice([0, 0, 4, 9, 200], SHAPE).astype(np.uint8)
    stored = sitk.DICOMOrient(sitk.GetImageFromArray(labels), codes)  # labels are LPS
    found = turned(measured(sitk.GetArrayFromImage(stored)), codes, "LPS")
    np.testing.assert_allclose(found, measured(labels), atol=1e-12)


def test_files_that_lie_along_the_same_axes_are_not_turned() -> None:
    rows = measured(np.random.default_rng(0).choice([0, 4, 9], SHAPE))
    for found, wanted in (("LPS", "LPS"), ("RAS", "LPS"), (None, "LPS"), ("PSR", None)):
        assert turned(rows, found, wanted) is rows


def test_masks_are_measured_one_by_one() -> None:
    meaning = MaskLabels(("a", "b", "none"))
    masks = np.random.default_rng(0).random((3, *SHAPE)) < 0.3
    masks[2] = False
    whole = meaning.joined(masks, SHAPE)
    found = label_moments(whole, foreground_of(whole, meaning), meaning)
    assert found.shape == (3, 10)
    for row, mask in zip(found, masks[:2]):
        assert row[0] == pytest.approx(mask.mean())
        np.testing.assert_allclose(row[1:4], positions(mask, True).mean(axis=0))
    assert np.isnan(found[2]).all()
