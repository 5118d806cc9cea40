"""Folds as they are planned: tables of patients and sites, labels, and what is kept from before."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from autoseg.core.labels import ExclusiveLabels, RegionLabels
from autoseg.core.records import read_json, write_json
from autoseg.data.dataset import Case, Dataset
from autoseg.data.fingerprint import CaseFingerprint, Fingerprint
from autoseg.data.folds import FoldRules, Folds, make_folds
from autoseg.errors import UsageError
from autoseg.pipeline.plan_folds import decide_folds, label_presence, read_column, write_folds
from autoseg.workspace import DatasetFolder

KEYS = tuple(f"case_{number:02d}" for number in range(10))


def plan_folds(folder: DatasetFolder, rules: FoldRules | None) -> Folds:
    given = folder.read_dataset(), folder.read_fingerprint()
    folds = decide_folds(folder, *given, rules)
    write_folds(folder, *given, folds)
    return folds


def files(root: Path, keys: tuple[str, ...] = KEYS, present: dict[str, tuple[int, ...]] | None = None) -> DatasetFolder:
    """A measured dataset of which only the records exist."""
    folder = DatasetFolder(root)
    labels = ExclusiveLabels({"background": 0, "organ": 3, "lesion": 5})
    cases = tuple(Case.of_files(key, (f"/{key}.nii.gz",), f"/labels/{key}.nii.gz") for key in keys)
    write_json(folder.dataset, Dataset("Dataset001_A", "/", ("CT",), labels, cases, ".nii.gz", "nnunet"))
    measured = {
        key: CaseFingerprint((8, 8, 8), (1, 1, 1), (8, 8, 8), 1.0, key, labels=(present or {}).get(key, (1,)))
        for key in keys
    }
    write_json(folder.fingerprint, Fingerprint(measured, ()))
    return folder


def test_without_flags_the_folds_are_nnunets_and_stay(tmp_path: Path) -> None:
    folder = files(tmp_path)
    assert plan_folds(folder, None) == make_folds(KEYS)
    write_json(folder.folds, kept := make_folds(KEYS, seed=1))
    assert plan_folds(folder, None) == kept


def test_new_cases_are_split_by_the_rules_of_before(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    plan_folds(files(tmp_path, KEYS[:6]), FoldRules(group=r"\d$"))
    with caplog.at_level(logging.WARNING, "autoseg"):
        folds = plan_folds(files(tmp_path), None)
    assert folds.group == r"\d$" and set(folds.patients) == set(KEYS)
    assert "the folds have changed" in caplog.text
    assert read_json(files(tmp_path).old_folds, Folds) == make_folds(
        KEYS[:6], {key: key[-1] for key in KEYS[:6]}, rules=FoldRules(group=r"\d$")
    )


def test_a_table_names_the_patients(tmp_path: Path) -> None:
    rows = "".join(f"{number % 2}{number};patient {number // 2};{key}\n" for number, key in enumerate(KEYS))
    (tmp_path / "who.csv").write_text("id; patient ;case\n" + rows, encoding="utf-8-sig")
    folds = plan_folds(files(tmp_path / "w"), FoldRules(group_file=f"{tmp_path / 'who.csv'}:patient"))
    assert folds.patients["case_03"] == "patient 1"
    assert all({"case_02", "case_03"} & set(fold.validation) in (set(), {"case_02", "case_03"}) for fold in folds.folds)


def test_labels_are_spread_over_the_folds_and_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ill = make_folds(KEYS).folds[0].validation + make_folds(KEYS).folds[1].validation  # by chance they come together
    folder = files(tmp_path, present={key: (1, 2) for key in ill})
    with caplog.at_level(logging.INFO, "autoseg"):
        folds = plan_folds(folder, FoldRules(stratify="labels")).folds
    assert sorted(len(set(ill) & set(fold.validation)) for fold in folds) == [0, 1, 1, 1, 1]
    assert "lesion" in caplog.text


def test_a_region_is_there_when_one_of_its_labels_is(tmp_path: Path) -> None:
    folder = files(tmp_path, KEYS[:2], {KEYS[0]: (2,), KEYS[1]: (1,)})
    dataset = folder.read_dataset()
    regions = RegionLabels({"whole": (3, 5), "core": (5,)}, (3, 5))
    assert label_presence(dataset, folder.read_fingerprint()) == {KEYS[0]: ("lesion",), KEYS[1]: ("organ",)}
    dataset = Dataset(dataset.name, "/", ("CT",), regions, dataset.cases, ".nii.gz", "nnunet")
    assert label_presence(dataset, folder.read_fingerprint()) == {KEYS[0]: ("whole", "core"), KEYS[1]: ("whole",)}


@pytest.mark.parametrize(
    ("content", "source", "wrong"),
    [
        ("case,site\na,1\nb,\n", "t.csv", "no site for 1 cases, 'b'"),
        ("case,site\na,1\nb,2\n", "t.csv:ward", "no column 'ward'"),
        ("case\na\nb\n", "t.csv", "no column"),
        ("", "t.csv", "no column"),
        (None, "t.csv", "cannot be read"),
        ("", "t.txt", "is no table"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(tmp_path: Path, content: str | None, source: str, wrong: str) -> None:
    if content is not None:
        (tmp_path / "t.csv").write_text(content)
    with pytest.raises(UsageError, match=f"--stratify.*{wrong}"):
        read_column(str(tmp_path / source), ["a", "b"], "--stratify")


def test_a_pipe_is_no_table(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "sites.csv")
    for flag in ("--group-file", "--stratify"):
        with pytest.raises(UsageError, match=f"{flag}: .*no file but a pipe"):
            read_column(str(tmp_path / "sites.csv"), ["a", "b"], flag)
