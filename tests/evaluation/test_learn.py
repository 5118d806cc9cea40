"""Postprocessing is kept where unseen cases surely gain from it and no label loses, and only there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from autoseg.core.geometry import Geometry
from autoseg.core.labels import ExclusiveLabels, RegionLabels
from autoseg.corrections import Correction
from autoseg.evaluation import learn as module
from autoseg.evaluation.learn import (
    Held,
    _surely_harmed,
    chosen,
    fewest_patients,
    held_out,
    improves,
    learn,
    next_step,
    parts,
)
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


def cases(spoil: Callable[[np.ndarray, int], None], count: int = 10, folds: int = 5) -> list[Held]:
    held = []
    for number in range(count):
        reference = scene(number)
        prediction = reference.copy()
        spoil(prediction, number)
        held.append(Held(prediction, LABELS.encode(reference), GEOMETRY, number % folds, f"patient {number}"))
    return held


def corrections(held: list[Held]) -> list[Correction]:
    return list(learn(held, LABELS)[0].corrections)


def test_a_second_piece_of_a_single_organ_is_removed() -> None:
    def spoil(prediction: np.ndarray, number: int) -> None:
        prediction[10:12, 12:19, 0:2] = 1

    learned, after = learn(cases(spoil), LABELS)
    assert learned.corrections == (Correction("organ", largest_component.Spec()),)
    assert learned.gain.better == 10 and learned.gain.worse == 0
    assert learned.gain.p == pytest.approx(2 / 2**10, rel=0.01)
    for number, case in enumerate(after):
        np.testing.assert_array_equal(case.label_map, scene(number))


def test_holes_are_filled() -> None:
    def spoil(prediction: np.ndarray, number: int) -> None:
        prediction[5, 5, 5] = prediction[6, 6, 6] = 0

    assert corrections(cases(spoil)) == [Correction("organ", fill_holes.Spec())]


def test_crumbs_are_removed_where_there_are_several_true_pieces() -> None:
    def spoil(prediction: np.ndarray, number: int) -> None:
        prediction[9:11, 12:19:3, 0] = 2

    learned, after = learn(cases(spoil), LABELS)
    assert learned.corrections == (Correction(None, minimum_size.Spec(10.0)),)  # true pieces have 14 mm3 or more
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
    assert not improves(held_out(scores, folds), scores[0], folds)


def test_of_equal_settings_the_mildest_is_taken() -> None:
    scores = np.zeros((4, 2, 1))
    scores[2:] = 0.5
    assert chosen(scores) == 2


def test_a_setting_that_leaves_nothing_to_score_is_not_the_best() -> None:
    assert chosen(np.array([[[0.0], [np.nan]], [[np.nan], [np.nan]], [[0.5], [np.nan]]])) == 2


def test_a_label_that_gets_worse_vetoes() -> None:
    scores = np.array([[[0.5, 0.50]] * 10, [[0.9, 0.49]] * 10])
    assert chosen(scores) == 0
    assert not improves(scores[1], scores[0], np.arange(10))
    assert improves(scores[1][:, :1], scores[0][:, :1], np.arange(10))


def test_false_structures_in_cases_without_any_may_vanish() -> None:
    """A case without the label and without its prediction has no score: that is better than 0."""
    before, after = np.array([[0.9], [0.0]] * 6), np.array([[0.9], [np.nan]] * 6)
    assert chosen(np.stack([before, after])) == 1 and improves(after, before, np.arange(12))


def test_regions_are_corrected_with_what_lies_inside_them() -> None:
    labels = RegionLabels({"whole": (1, 2), "core": (2,)}, (1, 2))
    held = []
    for number in range(12):
        reference = np.zeros(GEOMETRY.shape, np.uint8)
        reference[2:9, 2:12, 2:12] = 1
        reference[4:6, 4 + number % 4 : 8 + number % 4, 4:8] = 2
        prediction = reference.copy()
        prediction[10:12, 14:18, 14:18] = 1
        prediction[10, 15, 15] = 2
        held.append(Held(prediction, labels.encode(reference), GEOMETRY, number % 3, f"patient {number}"))
    learned, after = learn(held, labels)
    assert learned.corrections == (Correction(None, largest_component.Spec()),)
    assert all((case.label_map[10:] == 0).all() for case in after)


def test_a_gain_of_few_patients_is_not_sure() -> None:
    """Five that gain are chance once in 32 times; so are ten cases of five patients."""
    before, after = np.full((10, 1), 0.5), np.full((10, 1), 0.6)
    assert improves(after, before, np.arange(10))
    assert not improves(after[:5], before[:5], np.arange(5))
    assert not improves(after, before, np.arange(10) // 2)


def test_a_step_is_one_of_as_many_as_are_tried() -> None:
    """Eight that gain are chance once in 256 times: sure of one trial, not of a hundred."""
    scores, cases = np.stack([np.full((8, 1), 0.5), np.full((8, 1), 0.6)]), np.arange(8)
    assert next_step(scores, cases, cases, trials=8) == 1
    assert next_step(scores, cases, cases, trials=100) == 0


def test_a_label_that_surely_loses_on_held_out_cases_forbids_what_gains_in_the_mean() -> None:
    before, random = np.full((20, 2), 0.5), np.random.default_rng(0)
    noise = 0.02 * random.normal(size=20)
    surely, perhaps = before + [0.2, -0.02], before + np.stack([np.full(20, 0.2), noise - noise.mean() - 1e-4], 1)
    patients = np.arange(20)
    assert _surely_harmed(surely + 0.001 * random.normal(size=(20, 2)), before, patients)
    assert not _surely_harmed(perhaps, before, patients)


def test_cases_of_one_fold_are_parted_by_patient() -> None:
    patients = np.arange(24) // 3
    found = parts(np.zeros(24, int), patients)
    assert sorted(np.unique(found)) == [0, 1, 2, 3, 4]
    assert all(len(np.unique(found[patients == patient])) == 1 for patient in range(8))
    np.testing.assert_array_equal(parts(np.array([0, 0, 4]), np.arange(3)), [0, 0, 4])
    assert not parts(np.zeros(3, int), np.zeros(3, int)).any()


def test_of_a_single_patient_nothing_is_learned() -> None:
    scores = np.stack([np.full((9, 1), 0.5), np.full((9, 1), 0.9)])
    assert next_step(scores, np.zeros(9, int), np.zeros(9, int)) == 0
    assert next_step(scores, np.zeros(9, int), np.arange(9)) == 1
    held = cases(lambda prediction, number: prediction[10:12, 12:19, 0:2].fill(1))
    for case in held:
        case.patient, case.fold = "one", 0
    assert corrections(held) == []


@pytest.mark.slow
@pytest.mark.parametrize("folds", [1, 5])
def test_every_case_is_corrected_with_what_was_learned_without_it(folds: int) -> None:
    """Crumbs of two cases are larger: what others teach removes only the small one."""
    held, lesson = [], parts(np.arange(20) % folds, np.arange(20))
    for number in range(20):
        reference = scene(number)
        reference[10:12, 0:6, 0:18] = 2
        reference[:, 11:] = 0
        prediction = reference.copy()
        prediction[0:2, 19, 0:2] = 2
        if lesson[number] == lesson[0]:
            prediction[0:4, 16:18, 12:20] = 2
        held.append(Held(prediction, LABELS.encode(reference), GEOMETRY, number % folds, f"patient {number}"))
    learned, after = learn(held, LABELS)
    assert learned.corrections == (Correction(None, minimum_size.Spec(100.0)),)
    for number, case in enumerate(after):
        assert not case.label_map[0:2, 19, 0:2].any()
        assert case.label_map[0:4, 16:18, 12:20].all() == (lesson[number] == lesson[0])


def chance(seed: int, wrong: float) -> list[Held]:
    """Cases with a piece beside their organ and a hole in it: mistakes with the probability ``wrong``, else true."""
    random, held = np.random.default_rng(seed), []
    geometry = Geometry.plain((1, 10, 24), (1.0, 2.0, 2.0))
    for number in range(20):
        prediction, reference = np.ones((2, 1, 10, 24), np.uint8)
        for array in (prediction, reference):
            array[:, :, 10:] = 0
        piece, hole = random.integers(0, 8, 2)
        prediction[0, 2, 12 : 12 + piece], prediction[0, 6, 1 : 1 + hole] = 1, 0
        if random.random() > wrong:
            reference[0, 2, 12 : 12 + piece] = 1
        if random.random() > wrong:
            reference[0, 6, 1 : 1 + hole] = 0
        held.append(Held(prediction, reference, geometry, 0, f"patient {number}"))
    return held


def kept(wrong: float, datasets: int) -> int:
    labels = ExclusiveLabels({"background": 0, "organ": 1})
    return sum(bool(learn(chance(seed, wrong), labels)[0].corrections) for seed in range(datasets))


@pytest.mark.slow
def test_without_a_true_effect_postprocessing_is_hardly_ever_kept() -> None:
    """Removing a true piece costs as much as removing a false one gains; larger: benchmarks/postprocessing_kept.py."""
    assert kept(wrong=0.5, datasets=30) <= 2


@pytest.mark.slow
def test_a_true_effect_is_found() -> None:
    assert kept(wrong=0.95, datasets=10) >= 9


def test_from_few_patients_nothing_is_tried_since_nothing_could_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(prediction: np.ndarray, number: int) -> None:
        prediction[10:12, 12:19, 0:2] = 1

    few, tried = cases(spoil, count=fewest_patients(list(LABELS.foreground)) - 1), []
    tries = Held.tried
    monkeypatch.setattr(Held, "tried", lambda case, steps, labels: tried.extend(steps) or tries(case, steps, labels))
    learned, after = learn(few, LABELS)
    assert learned.corrections == () and after == few and not tried
    assert (learned.gain.better, learned.gain.worse, learned.gain.difference.mean) == (0, 0, 0)
    monkeypatch.setattr(module, "fewest_patients", lambda names: 0)
    anyhow, _ = learn(few, LABELS)
    assert anyhow.corrections == () and tried


def test_the_fewest_patients_are_as_many_as_make_a_sure_step() -> None:
    trials = len(list(module._trials(["a"])))
    found = fewest_patients(["a"])
    scores = np.stack([np.full((found, 1), 0.5), np.full((found, 1), 0.9)])
    assert next_step(scores, np.zeros(found, int), np.arange(found), trials) == 1
    fewer = found - 1
    assert next_step(scores[:, :fewer], np.zeros(fewer, int), np.arange(fewer), trials) == 0
    assert fewest_patients(["a", "b", "c"]) > found
