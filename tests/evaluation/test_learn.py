"""Corrections are kept where unseen cases gain from them and no label loses, and only there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from autoseg.core.geometry import Geometry
from autoseg.core.labels import ExclusiveLabels, RegionLabels
from autoseg.corrections import Correction
from autoseg.evaluation.learn import Held, chosen, held_out, improves, learn
from autoseg.parts.postprocessors import fill_holes, largest_component, minimum_size

LABELS = ExclusiveLabels({"background": 0, "organ": 1, "lesion": 2})
GEOMETRY = Geometry.plain((12, 20, 20), (1.0, 1.0, 1.0))


def scene(seed: int) -> np.ndarray:
    """An organ of varying place and size, and three lesions outside it."""
    random = np.random.default_rng(seed)
    found = np.zeros(GEOMETRY.shape, np.uint8)
    z, y, x = random.integers(1, 3, 3)
    found[z : z + 8, y : y + 9, x : x + 9] = 1
    for place in (13, 15, 17):
        found[4:6, place, 3 + random.integers(0, 8) : 18] = 2
    return found


def cases(spoil: Callable[[np.ndarray, int], None], count: int = 10) -> list[Held]:
    held = []
    for number in range(count):
        reference = scene(number)
        prediction = reference.copy()
        spoil(prediction, number)
        held.append(Held(prediction, LABELS.encode(reference), GEOMETRY, fold=number % 5))
    return held


def corrections(held: list[Held]) -> list[Correction]:
    return [step.correction for step in learn(held, LABELS)[0]]


def test_a_second_piece_of_a_single_organ_is_removed() -> None:
    def spoil(prediction: np.ndarray, number: int) -> None:
        prediction[10:12, 12:19, 0:2] = 1

    learned, after = learn(cases(spoil), LABELS)
    assert [step.correction for step in learned] == [Correction("organ", largest_component.Spec())]
    (step,) = learned
    assert step.gain.better == 10 and step.gain.worse == 0 and step.gain.p == pytest.approx(2 / 2**10, rel=0.01)
    for number, case in enumerate(after):
        np.testing.assert_array_equal(case.label_map, scene(number))


def test_holes_are_filled() -> None:
    def spoil(prediction: np.ndarray, number: int) -> None:
        prediction[5, 5, 5] = prediction[6, 6, 6] = 0

    assert corrections(cases(spoil)) == [Correction("organ", fill_holes.Spec())]


def test_crumbs_are_removed_where_there_are_several_true_pieces() -> None:
    def spoil(prediction: np.ndarray, number: int) -> None:
        prediction[9:11, 12:19:3, 0] = 2

    (step,), after = learn(cases(spoil), LABELS)
    assert step.correction == Correction(None, minimum_size.Spec(10.0))  # true pieces have 14 mm3 or more
    for number, case in enumerate(after):
        np.testing.assert_array_equal(case.label_map, scene(number))


def test_a_perfect_prediction_needs_no_correction() -> None:
    assert corrections(cases(lambda prediction, number: None)) == []


def test_a_correction_that_costs_another_label_is_not_kept() -> None:
    """The lesions are small pieces away from the organ: taking all labels together would remove them."""

    def spoil(prediction: np.ndarray, number: int) -> None:
        prediction[10:12, 12:19, 0:2] = 1

    assert all(step.label is not None for step in corrections(cases(spoil)))


def test_a_setting_that_only_fits_single_folds_by_chance_is_not_kept() -> None:
    """Every fold has its own best setting, which harms the others: chosen on all cases one would seem to help."""
    scores = np.full((3, 4, 1), 0.5)
    scores[1, :, 0] = [0.9, 0.4, 0.4, 0.4]
    scores[2, :, 0] = [0.4, 0.9, 0.4, 0.4]
    folds = np.arange(4)
    assert chosen(scores) == 1
    assert not improves(held_out(scores, folds), scores[0])


def test_of_equal_settings_the_mildest_is_taken() -> None:
    scores = np.zeros((4, 2, 1))
    scores[2:] = 0.5
    assert chosen(scores) == 2


def test_a_label_that_gets_worse_vetoes() -> None:
    scores = np.array([[[0.5, 0.50]], [[0.9, 0.49]]])
    assert chosen(scores) == 0
    assert not improves(scores[1], scores[0])


def test_false_structures_in_cases_without_any_may_vanish() -> None:
    """A case without the label and without its prediction has no score: that is better than 0."""
    before, after = np.array([[0.9], [0.0]]), np.array([[0.9], [np.nan]])
    assert chosen(np.stack([before, after])) == 1 and improves(after, before)


def test_regions_are_corrected_with_what_lies_inside_them() -> None:
    labels = RegionLabels({"whole": (1, 2), "core": (2,)}, (1, 2))
    held = []
    for number in range(6):
        reference = np.zeros(GEOMETRY.shape, np.uint8)
        reference[2:9, 2:12, 2:12] = 1
        reference[4:6, 4 + number : 8 + number, 4:8] = 2
        prediction = reference.copy()
        prediction[10:12, 14:18, 14:18] = 1
        prediction[10, 15, 15] = 2
        held.append(Held(prediction, labels.encode(reference), GEOMETRY, fold=number % 3))
    learned, after = learn(held, labels)
    assert [step.correction for step in learned] == [Correction(None, largest_component.Spec())]
    assert all((case.label_map[10:] == 0).all() for case in after)
