"""Left stays left: labels that mirroring would exchange are found, and only those."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoseg.core.geometry import FILE_AXES, axis_along
from autoseg.core.labels import ExclusiveLabels, RegionLabels
from autoseg.data.fingerprint import CaseFingerprint, Fingerprint, Structure
from autoseg.data.layouts import read_dataset
from autoseg.inspection.extract import extract_fingerprint
from autoseg.planning.mirror import mirror_axes, mirror_images, overlap

FOLDER = os.environ.get("AUTOSEG_TEST_DATA")
PLACE = Structure(10, 0.01, (0.4, 0.3, 0.45), (0.004, 0.002, 0.003, 0.001, -0.0005, 0.0002))


def names(*foreground: str) -> ExclusiveLabels:
    return ExclusiveLabels({"background": 0} | {name: value for value, name in enumerate(foreground, start=1)})


def measured(*structures: Structure | None, left_right: int | None = 2) -> Fingerprint:
    case = CaseFingerprint((9, 9, 9), (1.0, 1.0, 1.0), (9, 9, 9), 1.0, "", left_right)
    return Fingerprint({"a": case, "b": case}, (), structures)


def at(centre: tuple[float, float, float], share: float = 0.01, covariance: float = 0.0) -> Structure:
    return Structure(10, share, centre, (0.002, 0.002, 0.002, covariance, 0.0, 0.0))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("left_kidney", "right_kidney"),
        ("Kidney_L", "Kidney_R"),
        ("lh.thalamus", "rh.thalamus"),
        ("ctx-lh-cuneus", "ctx-rh-cuneus"),
        ("Niere links", "Niere rechts"),
        ("linke Niere", "rechte Niere"),
        ("LeftLung", "RightLung"),
        ("LEFT LUNG", "right lung"),
        ("left", "right"),
        ("rein gauche", "rein droit"),
        ("hippocampus (left)", "hippocampus (right)"),
        ("left_lobe_2", "right_lobe_2"),
        ("lt_kidney", "rt_kidney"),
        ("kidney_sin", "kidney_dex"),
        ("rene sinistro", "rene destro"),
        ("vena renalis sinistra", "vena renalis dextra"),
        ("ren sinister", "ren dexter"),
        ("Niere li", "Niere re"),
        ("ri\u00f1\u00f3n izquierdo", "ri\u00f1\u00f3n derecho"),
        ("mama izquierda", "mama derecha"),
        ("rim esquerdo", "rim direito"),
        ("\u5de6\u80be", "\u53f3\u80be"),
        ("\u80be_\u5de6", "\u80be_\u53f3"),
        ("kidney1L", "kidney1R"),
        ("rib12L_head", "rib12R_head"),
    ],
)
def test_names_that_differ_in_the_side_only_are_a_pair(first: str, second: str) -> None:
    (pair,) = mirror_images(names("liver", second, first), measured())
    assert (pair.first, pair.second, pair.axis) == (first, second, 2)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("left_kidney", "right_lung"),
        ("LV", "RV"),
        ("Anterior", "Posterior"),
        ("left_kidney", "left_kidney_cyst"),
        ("l1", "r1"),
        ("C1L5", "C1R5x"),
        ("T1Low", "T1Row"),
        ("sinus", "dexus"),
        ("left_kidney", "rene destro"),
        ("lesion", "region"),
        ("upper_left", "lower_left"),
    ],
)
def test_other_names_are_no_pair(first: str, second: str) -> None:
    assert mirror_images(names(first, second), measured()) == []


def test_regions_have_sides_too() -> None:
    labels = RegionLabels({"left_lung": (1, 2), "right_lung": (3,)}, class_order=(1, 3))
    assert [pair.axis for pair in mirror_images(labels, measured(left_right=1))] == [1]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_axis_of_a_named_pair_is_the_one_along_the_patients_left_right(axis: int) -> None:
    kept, why = mirror_axes(names("left_x", "right_x"), measured(left_right=axis))
    assert kept == tuple(other for other in range(3) if other != axis)
    assert f"not along the {FILE_AXES[axis]}: left_x and right_x" in why


def lying(*orientations: str | None, structures: tuple[Structure | None, ...] = ()) -> Fingerprint:
    """A case per orientation."""
    cases = {
        str(number): CaseFingerprint(
            (9, 9, 9), (1.0,) * 3, (9, 9, 9), 1.0, "", each and axis_along(each, "L"), orientation=each
        )
        for number, each in enumerate(orientations)
    }
    return Fingerprint(cases, (), structures)


def test_every_axis_that_is_left_right_in_any_case_is_barred() -> None:
    mixed = lying(*["LPS"] * 51, *["PSR"] * 49)  # axial and sagittal
    kept, why = mirror_axes(names("left_x", "right_x"), mixed)
    assert kept == (1,)
    assert "the first axis (x) is the patient's left-right in 51 of 100 cases" in why
    assert "the third axis (z) is the patient's left-right in 49 of 100 cases" in why
    one_of_each = lying("LPS", "PSL", "PLS")
    assert mirror_axes(names("left_x", "right_x"), one_of_each)[0] == ()
    assert mirror_axes(names("a", "b"), one_of_each)[0] == (0, 1, 2)


def test_pairs_by_place_are_barred_in_the_files_of_every_orientation() -> None:
    sides = at((0.5, 0.4, 0.25)), at((0.5, 0.4, 0.75))  # as in LPS files, which are the most
    mixed = lying(*["LPS"] * 3, "PSR", structures=sides)
    assert {pair.axis for pair in mirror_images(names("a", "b"), mixed)} == {0, 2}
    assert mirror_axes(names("a", "b"), lying(*["LPS"] * 3, "RAS", structures=sides))[0] == (0, 1)


def test_where_images_are_turned_to_one_orientation_its_left_right_counts() -> None:
    sides = at((0.5, 0.4, 0.25)), at((0.5, 0.4, 0.75))
    mixed = lying("LPS", "LPS", "PSR", structures=sides)
    for labels in (names("left_x", "right_x"), names("a", "b")):
        assert mirror_axes(labels, mixed, orientation="RAS")[0] == (0, 1)
        assert mirror_axes(labels, mixed, orientation="SRA")[0] == (0, 2)


def test_without_directions_x_is_taken_and_it_is_said() -> None:
    kept, why = mirror_axes(names("left_x", "right_x"), measured(left_right=None))
    assert kept == (0, 1)
    assert "taken as" in why


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_labels_that_lie_apart_and_mirrored_upon_each_other_are_a_pair(axis: int) -> None:
    def placed(place: float) -> Structure:
        centre = [0.4, 0.45, 0.55]
        centre[axis] = place
        return at((centre[0], centre[1], centre[2]))

    (pair,) = mirror_images(names("a", "b", "c"), measured(placed(0.25), placed(0.5), placed(0.75)))
    assert (pair.first, pair.second, pair.axis) == ("a", "c", axis)


@pytest.mark.parametrize(
    "other",
    [
        at((0.5, 0.5, 0.35)),  # overlaps already
        at((0.7, 0.5, 0.75)),  # at another height
        at((0.5, 0.5, 0.5)),  # mirrored about a plane that is not in the middle
        at((0.5, 0.5, 0.75), share=0.02),  # of another size
        at((0.5, 0.5, 0.75), covariance=0.0019),  # tilted
        Structure(2, 0.01, (0.5, 0.5, 0.75), (0.002, 0.002, 0.002, 0.0, 0.0, 0.0)),  # in two cases only
        None,
    ],
)
def test_labels_that_are_alike_in_all_but_one_thing_are_no_pair(other: Structure | None) -> None:
    here = at((0.5, 0.5, 0.25))
    assert mirror_images(names("a", "b"), measured(here, at((0.5, 0.5, 0.75))))  # the pair that `other` is not
    assert mirror_images(names("a", "b"), measured(here, other)) == []


def test_tilts_must_be_mirrored_too() -> None:
    def tilted(x: float, zx: float) -> Structure:
        return Structure(10, 0.01, (0.5, 0.5, x), (0.002, 0.002, 0.002, 0.0, zx, 0.0))

    assert mirror_images(names("a", "b"), measured(tilted(0.25, 0.0015), tilted(0.75, -0.0015)))
    assert mirror_images(names("a", "b"), measured(tilted(0.25, 0.0015), tilted(0.75, 0.0015))) == []


def test_a_fingerprint_without_places_mirrors_along_every_axis() -> None:
    kept, why = mirror_axes(names("a", "b"), measured())
    assert kept == (0, 1, 2)
    assert "not measured" in why
    assert "not measured" not in mirror_axes(names("a", "b"), measured(PLACE, PLACE))[1]


def test_a_wish_comes_before_rule_and_planner() -> None:
    labels, fingerprint = names("left_x", "right_x"), measured()
    assert mirror_axes(labels, fingerprint, wish=(0, 1, 2))[0] == (0, 1, 2)
    assert mirror_axes(labels, fingerprint, planned=False, wish=(2,))[0] == (2,)
    assert mirror_axes(labels, fingerprint, planned=False)[0] == ()
    assert "as you asked" in mirror_axes(labels, fingerprint, wish=())[1]


@given(st.tuples(*[st.floats(0.2, 0.8)] * 3))
def test_overlap_is_bhattacharyyas_integral(centre: tuple[float, float, float]) -> None:
    assert overlap(PLACE, PLACE) == pytest.approx(1)
    other = Structure(10, 0.01, centre, (0.003, 0.002, 0.001, 0.0, 0.0, 0.0005))
    assert overlap(PLACE, other) == pytest.approx(overlap(other, PLACE))
    assert 0 <= overlap(PLACE, other) < 1


def test_overlap_equals_the_integral_along_one_axis() -> None:
    def along_x(x: float, variance: float) -> Structure:
        return Structure(10, 0.01, (0.5, 0.5, x), (1.0, 1.0, variance, 0.0, 0.0, 0.0))

    grid = np.linspace(-2, 3, 20001)
    densities = [
        np.exp(-((grid - mean) ** 2) / (2 * (variance + 1e-4))) / np.sqrt(2 * np.pi * (variance + 1e-4))
        for mean, variance in ((0.3, 0.02), (0.6, 0.05))
    ]
    expected = np.sqrt(densities[0] * densities[1]).sum() * (grid[1] - grid[0])
    assert overlap(along_x(0.3, 0.02), along_x(0.6, 0.05)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(not FOLDER, reason="AUTOSEG_TEST_DATA names no folder with datasets")
@pytest.mark.parametrize(
    ("dataset", "pairs", "kept"),
    [
        ("ABIDESubcortical", {(f"structure_{i}", f"structure_{i + 4}") for i in range(1, 5)}, (0, 2)),
        ("CHAOST2SPIR", {("left_kidney", "right_kidney")}, (0, 1)),
        ("Hippocampus", set(), (0, 1, 2)),
        ("ACDC", set(), (0, 1, 2)),
        ("BraTS13FlairT1c", set(), (0, 1, 2)),
    ],
)
def test_real_structures(dataset: str, pairs: set[tuple[str, str]], kept: tuple[int, ...], tmp_path: Path) -> None:
    folders = list(Path(str(FOLDER)).glob(f"Dataset*_{dataset}"))
    if not folders:
        pytest.skip(f"AUTOSEG_TEST_DATA holds no {dataset}")
    read = read_dataset(folders[0])
    fingerprint, _ = extract_fingerprint(read, tmp_path, 2)
    assert {(pair.first, pair.second) for pair in mirror_images(read.labels, fingerprint)} == pairs
    assert mirror_axes(read.labels, fingerprint)[0] == kept
    nameless = names(*(f"structure_{value}" for value in read.labels.values[1:]))
    assert bool(mirror_images(nameless, fingerprint)) == bool(pairs)  # by place alone
