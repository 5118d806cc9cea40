"""Every case validates exactly once, patients stay together, and the split is nnU-Net's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoseg.errors import DatasetError, UsageError
from autoseg.folds import Fold, given_folds, likely_group, make_folds

keys = st.lists(st.from_regex(r"p[0-9]_t[0-9]{1,2}", fullmatch=True), min_size=2, max_size=40, unique=True)


@given(keys)
def test_every_case_validates_once_and_never_trains_in_its_own_fold(cases: list[str]) -> None:
    folds = make_folds(cases).folds
    validated = [key for fold in folds for key in fold.validation]
    assert sorted(validated) == sorted(cases)
    assert all(sorted((*fold.train, *fold.validation)) == sorted(cases) for fold in folds)


@given(keys)
def test_a_patient_is_never_on_both_sides(cases: list[str]) -> None:
    patients = {key.split("_")[0] for key in cases}
    if len(patients) < 2:
        with pytest.raises(UsageError):
            make_folds(cases, group=r"^(p\d)")
        return
    for fold in make_folds(cases, group=r"^(p\d)").folds:
        assert not {key[:2] for key in fold.train} & {key[:2] for key in fold.validation}


def test_without_groups_the_split_is_that_of_nnunet() -> None:
    # sklearn 1.7 KFold(5, shuffle=True, random_state=12345) over 12 sorted cases, as nnU-Net v2 2.8.1 splits.
    expected = [[0, 3, 8], [7, 10, 11], [6, 9], [1, 4], [2, 5]]
    folds = make_folds([f"c{index:02d}" for index in range(12)]).folds
    assert [[int(key[1:]) for key in fold.validation] for fold in folds] == expected


def test_a_pattern_that_misses_a_case_is_refused() -> None:
    with pytest.raises(UsageError, match="case_b"):
        make_folds(["a1", "case_b", "a2"], group=r"^a\d")


def test_several_scans_of_a_patient_are_noticed() -> None:
    assert likely_group(["patient001_frame01", "patient001_frame12", "patient002_frame01", "patient002_frame12"])
    assert likely_group(["hippocampus_003", "hippocampus_004"]) is None


def test_a_fold_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UsageError, match="0-1"):
        make_folds(["a", "b"])[2]


def test_folds_that_someone_else_decided_are_taken_as_they_are() -> None:
    folds = given_folds([(["b", "a"], ["c"]), (["c"], [])], "abcd", "splits.json").folds
    assert folds == (Fold(("b", "a"), ("c",)), Fold(("c",), ()))


@pytest.mark.parametrize(
    ("split", "wrong"),
    [
        ((["a"], ["x"]), "fold 0 names 'x'"),
        ((["a", "b"], ["b"]), "'b' trains and validates"),
        (([], ["a"]), "no training cases"),
    ],
)
def test_given_folds_that_cannot_be_right_are_refused(split: tuple[list[str], list[str]], wrong: str) -> None:
    with pytest.raises(DatasetError, match=f"splits.json: .*{wrong}"):
        given_folds([split], "ab", "splits.json")
