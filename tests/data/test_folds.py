"""Every case validates exactly once, patients stay together, traits are spread evenly, and the default is nnU-Net's."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoseg.core.records import from_json
from autoseg.data.folds import Fold, Folds, fold_table, given_folds, likely_group, make_folds, named_patients
from autoseg.errors import DatasetError, RecordError, UsageError

keys = st.lists(st.from_regex(r"p[0-9]_t[0-9]{1,2}", fullmatch=True), min_size=2, max_size=40, unique=True)
some_traits = st.lists(st.sampled_from("abc"), max_size=2, unique=True)
cases_with_traits = st.dictionaries(st.from_regex(r"p[0-9]_t[0-9]{1,2}", fullmatch=True), some_traits, min_size=2)


@given(keys)
def test_every_case_validates_once_and_never_trains_in_its_own_fold(cases: list[str]) -> None:
    folds = make_folds(cases).folds
    validated = [key for fold in folds for key in fold.validation]
    assert sorted(validated) == sorted(cases)
    assert all(sorted((*fold.train, *fold.validation)) == sorted(cases) for fold in folds)


@given(cases_with_traits, st.booleans())
def test_a_patient_is_never_on_both_sides(traits: dict[str, list[str]], stratified: bool) -> None:
    patients = named_patients(traits, r"^(p\d)")
    if len(set(patients.values())) < 2:
        with pytest.raises(UsageError):
            make_folds(traits, patients, traits if stratified else None)
        return
    folds = make_folds(traits, patients, traits if stratified else None).folds
    assert sorted(key for fold in folds for key in fold.validation) == sorted(traits)
    assert len(folds) == min(5, len(set(patients.values())))
    for fold in folds:
        assert fold.validation and not {key[:2] for key in fold.train} & {key[:2] for key in fold.validation}


@given(cases_with_traits)
def test_the_rarest_trait_is_spread_as_evenly_as_can_be(traits: dict[str, list[str]]) -> None:
    totals = Counter(trait for found in traits.values() for trait in found)
    folds = make_folds(traits, traits=traits).folds
    if totals:
        rarest = min(totals, key=lambda trait: (totals[trait], trait))
        counts = [sum(rarest in traits[key] for key in fold.validation) for fold in folds]
        assert max(counts) - min(counts) <= 1


@given(st.dictionaries(st.integers(0, 999).map(str), st.sampled_from("abc"), min_size=10))
def test_sites_are_spread_evenly_and_folds_are_of_one_size(sites: dict[str, str]) -> None:
    folds = make_folds(sites, traits={key: [site] for key, site in sites.items()}).folds
    for site in set(sites.values()):
        counts = [sum(sites[key] == site for key in fold.validation) for fold in folds]
        assert max(counts) - min(counts) <= 1
    sizes = [len(fold.validation) for fold in folds]
    assert max(sizes) - min(sizes) <= 1


def test_without_rules_the_split_is_that_of_nnunet() -> None:
    # sklearn 1.7 KFold(5, shuffle=True, random_state=12345) over 12 sorted cases, as nnU-Net v2 2.8.1 splits.
    expected = [[0, 3, 8], [7, 10, 11], [6, 9], [1, 4], [2, 5]]
    folds = make_folds([f"c{index:02d}" for index in range(12)]).folds
    assert [[int(key[1:]) for key in fold.validation] for fold in folds] == expected


def test_a_pattern_that_misses_a_case_is_refused() -> None:
    with pytest.raises(UsageError, match="case_b"):
        named_patients(["a1", "case_b", "a2"], r"^a\d")


def test_several_scans_of_a_patient_are_noticed() -> None:
    assert likely_group(["patient001_frame01", "patient001_frame12", "patient002_frame01", "patient002_frame12"])
    assert likely_group(["hippocampus_003", "hippocampus_004"]) is None


@pytest.mark.parametrize(
    ("fold", "said"),
    [
        ({"train": [], "validation": ["a"]}, r"folds.json.folds\[0\]: there are no training cases"),
        ({"train": ["a", "b"], "validation": ["b"]}, "'b' trains and validates"),
        ({"train": ["a", "a"], "validation": ["b"]}, "train names 'a' twice"),
        ({"train": ["a"], "validation": ["b", "b"]}, "validation names 'b' twice"),
        ({"train": ["a"]}, "validation"),
        ({"train": ["a", 3], "validation": ["b"]}, r"train\[1\]: expected str"),
    ],
)
def test_folds_that_were_written_by_hand_check_themselves(fold: dict[str, Any], said: str) -> None:
    with pytest.raises(RecordError, match=said):
        from_json(Folds, {"folds": [fold]}, "folds.json")


@pytest.mark.parametrize(
    ("patients", "said"), [({"a": "p", "b": "p"}, "the patient 'p' trains and validates"), ({"a": "p"}, "no entry")]
)
def test_patients_must_fit_the_folds(patients: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Folds((Fold(("a",), ("b",)),), patients=patients)


def test_a_case_that_the_dataset_lacks_is_named_with_its_fold() -> None:
    folds = Folds((Fold(("a",), ("b",)), Fold(("b",), ("x",))))
    with pytest.raises(DatasetError, match=r"folds.json: fold 1 names 1 cases that are not in this dataset: 'x'"):
        folds.refuse_unknown(["a", "b"], "folds.json")


@pytest.mark.parametrize("name", ["00", "٣", "²", "-1", "1.0", "../0", "", "9" * 5000])
def test_a_fold_has_one_name(name: str) -> None:
    with pytest.raises(UsageError, match=r"is unknown|no fold"):
        make_folds(["a", "b"]).named(name)


def test_without_folds_there_is_only_all() -> None:
    with pytest.raises(UsageError, match="no folds to validate on; train with fold `all`"):
        Folds(())[0]


@pytest.mark.parametrize("group", ["(", "a{99999999999}", "(x)?"])
def test_a_pattern_that_names_no_patient_is_refused(group: str) -> None:
    with pytest.raises(UsageError, match="--group"):
        named_patients(["case_b"], group)


def test_a_fold_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UsageError, match="0-1"):
        make_folds(["a", "b"])[2]


def test_the_table_counts_cases_patients_and_traits() -> None:
    traits = {"a1": ["liver"], "a2": ["liver", "tumour"], "b1": ["liver"], "c1": []}
    folds = make_folds(traits, {key: key[0] for key in traits})
    rows = [row.split() for row in fold_table(folds, traits).splitlines()]
    assert rows[0] == ["fold", "validates", "on", "patients", "liver", "tumour"]
    found = {tuple(sorted(fold.validation)): row[1:] for fold, row in zip(folds.folds, rows[1:])}
    assert found == {("a1", "a2"): ["2", "1", "2", "1"], ("b1",): ["1", "1", "1", "0"], ("c1",): ["1", "1", "0", "0"]}


def test_folds_that_someone_else_decided_are_taken_as_they_are() -> None:
    folds = given_folds([(["b", "a"], ["c"]), (["c"], [])], "abcd", "splits.json").folds
    assert folds == (Fold(("b", "a"), ("c",)), Fold(("c",), ()))


@pytest.mark.parametrize(
    ("split", "wrong"),
    [
        ((["a"], ["x"]), "fold 0 names 1 cases that are not in this dataset: 'x'"),
        ((["a", "b"], ["b"]), "'b' trains and validates"),
        (([], ["a"]), "no training cases"),
    ],
)
def test_given_folds_that_cannot_be_right_are_refused(split: tuple[list[str], list[str]], wrong: str) -> None:
    with pytest.raises(DatasetError, match=f"splits.json: .*{wrong}"):
        given_folds([split], "ab", "splits.json")


def test_a_pattern_that_would_take_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autoseg.data.folds.MATCHING", 0.1)
    with pytest.raises(UsageError, match="takes too long"):
        named_patients(["a" * 60 + "b"], "(a+)+$")
