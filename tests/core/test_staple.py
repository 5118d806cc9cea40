"""STAPLE gives what ITK's filters give on whole volumes, and what a person would say of small ones."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from autoseg.core import staple
from autoseg.core.staple import Staple, bytes_beside, decision_type, staple_problem
from autoseg.errors import DatasetError

SHAPE = (12, 20, 18)


def truth(labels: int, seed: int) -> np.ndarray:
    """Blocks of each label in a background of 0."""
    found, random = np.zeros(SHAPE, np.uint8), np.random.default_rng(seed)
    for label in range(1, labels):
        z, y, x = random.integers(0, 7, 3)
        found[z : z + 6, y : y + 9, x : x + 8] = label
    return found


def rated(true: np.ndarray, labels: int, errors: list[float], seed: int) -> np.ndarray:
    """(raters, z, y, x): each says another label in its share of the voxels."""
    random = np.random.default_rng(seed)
    wrong = [
        np.where(random.random(true.shape) < share, random.integers(0, labels, true.shape), true) for share in errors
    ]
    return np.stack(wrong).astype(np.uint8)


def estimated(votes: np.ndarray, heads: int, exclusive: bool = True, slices: int | None = None) -> np.ndarray:
    """(heads, ...), the votes coming so many slices at a time."""
    found = Staple(len(votes), heads, exclusive)
    step = slices or votes.shape[1]
    for start in range(0, votes.shape[1], step):
        found.add(votes[:, start : start + step].reshape(len(votes), -1))
    found.estimate()
    return found.chances(votes.reshape(len(votes), -1)).reshape(-1, *votes.shape[1:])


@pytest.mark.parametrize("errors", [[0.1, 0.2, 0.3], [0.05, 0.4], [0.3, 0.3, 0.3, 0.1, 0.02], [0.0, 0.5, 0.2]])
@pytest.mark.parametrize("seed", [0, 1])
def test_two_labels_are_as_likely_as_in_itks_filter(errors: list[float], seed: int) -> None:
    votes = rated(truth(2, seed), 2, errors, seed)
    theirs = sitk.STAPLE([sitk.GetImageFromArray(vote) for vote in votes], 1.0)
    expected = sitk.GetArrayFromImage(theirs)
    found = estimated(votes, 2)
    np.testing.assert_allclose(found[1], expected, atol=2e-5)
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-6)
    as_region = estimated(votes, 1, exclusive=False)
    np.testing.assert_allclose(as_region[0], expected, atol=2e-5)


@pytest.mark.parametrize("labels", [3, 5])
@pytest.mark.parametrize("errors", [[0.1, 0.2, 0.3], [0.3, 0.3, 0.3, 0.1, 0.02]])
def test_several_labels_are_decided_as_by_itks_filter(labels: int, errors: list[float]) -> None:
    votes = rated(truth(labels, 3), labels, errors, 3)
    theirs = sitk.GetArrayFromImage(sitk.MultiLabelSTAPLE([sitk.GetImageFromArray(vote) for vote in votes]))
    found = estimated(votes, labels)
    decided = found.argmax(0)
    sure = theirs < labels  # they leave open what is a tie
    assert sure.mean() > 0.99
    np.testing.assert_array_equal(decided[sure], theirs[sure])


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.integers(2, 4), st.integers(2, 4), st.integers(1, 11), st.integers(0, 1000), st.booleans())
def test_slices_one_after_the_other_give_what_the_volume_gives(
    labels: int, raters: int, slices: int, seed: int, exclusive: bool
) -> None:
    votes = rated(truth(labels, seed), labels, [0.1 + 0.1 * number for number in range(raters)], seed)
    heads = labels if exclusive else 2  # whose bits are 0 to 3
    whole, parts = (estimated(votes, heads, exclusive, step) for step in (None, slices))
    np.testing.assert_array_equal(whole, parts)
    assert (whole >= 0).all() and (whole <= 1).all()
    if exclusive:
        np.testing.assert_allclose(whole.sum(0), 1, atol=1e-5)


def test_a_table_in_parts_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    votes = rated(truth(4, 0), 4, [0.2, 0.3, 0.4], 0)
    whole = estimated(votes, 4)
    monkeypatch.setattr(staple, "AT_ONCE", 20)
    np.testing.assert_allclose(estimated(votes, 4), whole, atol=1e-6)


def test_who_is_mostly_wrong_is_not_believed_though_a_mean_would() -> None:
    """Two raters that see nothing in common with the others, against one that two more confirm elsewhere."""
    true = truth(2, 5)
    votes = rated(true, 2, [0.02, 0.02, 0.02, 0.9, 0.9], 5)
    found = estimated(votes, 2).argmax(0)
    mean = (votes.mean(0) > 0.5).astype(int)
    assert (found != true).mean() < (mean != true).mean() < 0.1


def test_what_all_say_is_so_and_a_rater_that_is_turned_around_counts_the_other_way() -> None:
    one = truth(2, 6)
    np.testing.assert_array_equal(estimated(np.stack([one] * 3), 2).argmax(0), one)
    votes = np.concatenate((rated(one, 2, [0.1, 0.1, 0.1], 6), 1 - rated(one, 2, [0.02], 7)))
    assert (estimated(votes, 2).argmax(0) != one).mean() < 0.02


def test_decisions_may_be_counted_beforehand() -> None:
    votes = rated(truth(3, 8), 3, [0.1, 0.2, 0.3], 8).reshape(3, -1)
    different, counts = np.unique(votes, axis=1, return_counts=True)
    one, other = Staple(3, 3, True), Staple(3, 3, True)
    one.add(votes)
    other.add(different, counts)
    for each in (one, other):
        each.estimate()
    np.testing.assert_array_equal(one.chances(different), other.chances(different))


def test_regions_are_estimated_each_by_itself() -> None:
    first, second = (rated(truth(2, seed), 2, [0.1, 0.2, 0.3], seed) for seed in (1, 2))
    both = estimated(first | second << 1, 2, exclusive=False)
    for number, votes in enumerate((first, second)):
        np.testing.assert_array_equal(both[number], estimated(votes, 1, exclusive=False)[0])


@pytest.mark.parametrize("value", [0, 1])
def test_an_image_of_one_label_stays_one(value: int) -> None:
    found = estimated(np.full((3, *SHAPE), value, np.uint8), 2)
    np.testing.assert_array_equal(found.argmax(0), value)
    assert np.isfinite(found).all()


def test_raters_that_never_agree_are_believed_alike() -> None:
    votes = np.stack([np.zeros(SHAPE, np.uint8), np.ones(SHAPE, np.uint8)])
    found = estimated(votes, 3)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[:, 0, 0, 0], [0.5, 0.5, 0], atol=1e-6)


def test_what_would_take_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DatasetError, match="two configurations or more"):
        Staple(1, 3, True)
    assert "too many to be told apart" in (staple_problem(20, 1000, True) or "")
    assert "too many to be told apart" in (staple_problem(3, 70, False) or "")
    assert staple_problem(5, 118, True) is None and staple_problem(20, 16, False) is None
    monkeypatch.setattr(staple, "MOST_PATTERNS", 20)
    with pytest.raises(DatasetError, match="contradict each other in more than 20 ways"):
        estimated(rated(truth(4, 0), 4, [0.5, 0.5, 0.5], 0), 4)


def test_memory_is_bounded_however_large_the_image() -> None:
    small, large = (bytes_beside(5, 118, True, voxels, 1 << 20) for voxels in (1 << 20, 1 << 32))
    assert small == large < 1 << 28
    kinds = [decision_type(*of) for of in ((256, True), (257, True), (8, False), (9, False), (33, False))]
    assert kinds == ["u1", "u2", "u1", "u2", "i8"]
