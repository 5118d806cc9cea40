"""What the page tells beyond scores, with the figures of the files: confusion, calibration, risk, comparison."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from compared import OTHER, better, calibrated, make_other
from reported import CASES, CONFIGURATION, HOSTILE, LABELS, NAME, label_map, predicted
from scipy.stats import wilcoxon

from autoseg.core.records import read_json
from autoseg.evaluation.quality_table import QUALITY
from autoseg.evaluation.scores import Summary
from autoseg.reporting import counted as counting
from autoseg.reporting.blocks import Block, Lines, Notice, Table
from autoseg.reporting.pairs import Matrix, Pairs
from autoseg.reporting.sections import _confusion
from autoseg.reporting.sections.comparison import blocks as comparison
from autoseg.reporting.sections.cross_validation import blocks as cross_validation
from autoseg.reporting.source import open_source
from autoseg.workspace import DatasetFolder, Workspace

ORGAN, LESION = (name for name in LABELS if name != "background")
FOLDS = ("0", "1")


@pytest.fixture(scope="module")
def both(made: DatasetFolder, tmp_path_factory: pytest.TempPathFactory) -> DatasetFolder:
    """Two configurations, with calibration and quality. Do not change it."""
    root = tmp_path_factory.mktemp("both") / "workspace"
    shutil.copytree(made.root, root / NAME)
    files = Workspace(root).dataset_folder(NAME)
    make_other(files)
    return files


@pytest.fixture(scope="module")
def shown(both: DatasetFolder) -> list[Block]:
    """Of the first configuration."""
    return list(cross_validation(open_source(both, configuration=CONFIGURATION, pictures=False)))


@pytest.fixture
def copied(both: DatasetFolder, tmp_path: Path) -> DatasetFolder:
    """To be damaged."""
    shutil.copytree(both.root, tmp_path / "workspace" / NAME)
    return Workspace(tmp_path / "workspace").dataset_folder(NAME)


def titled(blocks: list[Block], title: str) -> list[Block]:
    return [block for block in blocks if getattr(block, "title", None) == title]


def notices(blocks: list[Block]) -> str:
    return "\n".join(block.text for block in blocks if isinstance(block, Notice))


def validated(files: DatasetFolder) -> list[str]:
    folds = files.read_folds()
    return [key for fold in FOLDS for key in folds.named(fold).validation]


def scores(files: DatasetFolder, configuration: str) -> dict[str, dict[str, float | None]]:
    """Case to label to Dice."""
    found = {}
    for fold in FOLDS:
        for key, case in read_json(files.run(configuration, fold).scores, Summary).cases.items():
            found[key] = {label: row["dice"] for label, row in case.items()}
    return found


def joint(keys: list[str], predict: Callable[[str], np.ndarray] = predicted) -> np.ndarray:
    """Voxels (reference, prediction) of all cases."""
    total = np.zeros((3, 3))
    for key in keys:
        np.add.at(total, (label_map(CASES.index(key)), predict(key)), 1)
    return total


def test_confusion_is_counted_over_all_validated_cases(both: DatasetFolder, shown: list[Block]) -> None:
    (matrix,) = titled(shown, _confusion.TITLE)
    assert isinstance(matrix, Matrix) and matrix.names == tuple(LABELS) and matrix.unit == "ml"
    expected = joint(validated(both))
    assert np.array(matrix.amounts) == pytest.approx(3e-3 * expected, rel=1e-5)
    assert np.array(matrix.shares) == pytest.approx(100 * expected / expected.sum(1, keepdims=True), rel=1e-5)
    assert np.array(matrix.shares).sum(1) == pytest.approx([100] * 3, abs=1e-3)
    assert expected[1, 0] > 0 and expected[2, 1] > 0 and "all validated cases" in matrix.note


def test_of_many_labels_the_largest_confusions_are_listed(both: DatasetFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_confusion, "MOST_CLASSES", 2)
    source = open_source(both, configuration=CONFIGURATION, pictures=False)
    (table,) = titled(list(cross_validation(source)), _confusion.TITLE)
    assert isinstance(table, Table)
    expected = joint(validated(both))
    wrong = {(one, other): expected[m, n] for m, one in enumerate(LABELS) for n, other in enumerate(LABELS) if m != n}
    assert {tuple(row[:2]) for row in table.rows} == {pair for pair, count in wrong.items() if count}
    amounts = [row[2] for row in table.rows]
    assert amounts == sorted(amounts, reverse=True)
    assert amounts[0] == pytest.approx(3e-3 * max(wrong.values()), rel=1e-5)


def test_of_too_many_voxels_a_part_is_looked_at(both: DatasetFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    voxels = len(validated(both)) * label_map(0).size  # of one configuration
    monkeypatch.setattr(counting, "MOST_COMPARED", voxels // 2)
    source = open_source(both, configuration=CONFIGURATION, pictures=False)
    (matrix,) = titled(list(cross_validation(source)), _confusion.TITLE)
    some = sorted(validated(both))[::2]
    assert isinstance(matrix, Matrix) and f"{len(some)} of {len(validated(both))} validated cases" in matrix.note
    assert np.array(matrix.amounts) == pytest.approx(3e-3 * joint(some), rel=1e-5)
    assert len(counting.counted(source).sizes) == len(CASES)


def test_calibration_is_that_of_a_calculation_by_hand(both: DatasetFolder, shown: list[Block]) -> None:
    """``compared.calibrated``: a voxel that is predicted has 0.8, any other 0."""
    (table,), (diagram,), (bins,) = (
        titled(shown, title)
        for title in (
            "Calibration: expected calibration error", "Reliability diagram", "Bins of the calibration",
        )
    )  # fmt: skip
    assert isinstance(table, Table) and isinstance(diagram, Lines) and isinstance(bins, Table)
    expected = joint(validated(both))
    for value, label in ((1, ORGAN), (2, LESION)):
        (row,) = (row for row in table.rows if row[0] == label)
        said, right, all_of_it = expected[:, value].sum(), expected[value, value], expected[value].sum()
        error, missed = abs(0.8 * said - right), all_of_it - right
        wanted = (expected.sum(), (error + missed) / expected.sum(), said, error / said, (0.8 * said - right) / said)
        ends = [cell for cell, column in zip(row, table.columns) if "95 %" in column.name]
        others = [cell for cell, column in zip(row, table.columns) if "95 %" not in column.name]
        assert others[1:] == pytest.approx(list(wanted), rel=1e-4)
        assert ends[0] <= error / said * (1 + 1e-4) and ends[1] >= error / said * (1 - 1e-4)
        (series,) = (each for each in diagram.choices[0].series if each.name == label)
        assert series.x == pytest.approx((0, 0.8)) and series.y[1] == pytest.approx(right / said, rel=1e-5)
        rows = [row for row in bins.rows if row[0] == label]
        assert len(rows) == 15 and sum(row[3] for row in rows) == expected.sum()
        (full,) = (row for row in rows if row[3] == said and row[4])
        assert full[1] < 0.8 <= full[2] + 1e-5 and full[5] == pytest.approx(right / said, rel=1e-5)


def test_risk_grows_with_coverage_as_the_files_say(both: DatasetFolder, shown: list[Block]) -> None:
    (lines,), (table,) = titled(shown, "Risk against coverage"), titled(shown, "Predicted quality")
    assert isinstance(lines, Lines) and isinstance(table, Table)
    dice, order = scores(both, CONFIGURATION), {}
    for fold in FOLDS:
        path = both.run(CONFIGURATION, fold).validation / QUALITY
        with path.open(newline="", encoding="utf-8") as file:
            order |= {row["case"]: float(row["agreement"]) for row in csv.DictReader(file) if row["label"] == ORGAN}
    sure = sorted(order, key=lambda key: -order[key])
    risks = [1 - dice[key][ORGAN] for key in sure]
    (choice,) = (each for each in lines.choices if each.name == ORGAN)
    surest, best, any_order = choice.series
    assert surest.x == pytest.approx([100 * n / len(sure) for n in range(1, len(sure) + 1)], rel=1e-5)
    assert surest.y == pytest.approx([np.mean(risks[: n + 1]) for n in range(len(sure))], rel=1e-5)
    assert best.y == pytest.approx([np.mean(sorted(risks)[: n + 1]) for n in range(len(sure))], rel=1e-4, abs=1e-6)
    assert any_order.y == pytest.approx([np.mean(risks)] * len(sure), rel=1e-5)
    (row,) = (row for row in table.rows if row[0] == ORGAN)
    assert row[1:3] == (len(sure), 0)
    assert row[3:6] == pytest.approx([np.mean(each.y) for each in (any_order, surest, best)], rel=1e-4)


def test_differences_are_those_of_the_scores_and_go_by_patient(both: DatasetFolder) -> None:
    table, *plots = (block for block in comparison(open_source(both)) if isinstance(block, Table | Pairs))
    one, other, patients = scores(both, CONFIGURATION), scores(both, OTHER), both.read_folds().patients
    names = [column.name for column in table.columns]
    assert f"Dice of {OTHER}" in names, "the better one"
    (row,) = (dict(zip(names, row)) for row in table.rows if row[1] == ORGAN)
    differences = {key: one[key][ORGAN] - other[key][ORGAN] for key in one}
    assert row["configuration"] == CONFIGURATION and row["cases"] == len(one)
    assert row["Dice"] == pytest.approx(np.mean([case[ORGAN] for case in one.values()]), rel=1e-5)
    assert row["difference"] == pytest.approx(np.mean(list(differences.values())), rel=1e-4)
    assert row["95 % from"] <= row["difference"] <= row["95 % to"]
    whose = {patients[key] for key in one}
    by_patient = [np.mean([differences[key] for key in one if patients[key] == each]) for each in whose]
    assert len(whose) < len(one) and row["better"] + row["worse"] == sum(abs(each) > 1e-9 for each in by_patient)
    known = [each for each in by_patient if abs(each) > 1e-9]
    assert row["p"] == pytest.approx(wilcoxon(known, method="exact").pvalue, rel=1e-4)
    (plot,) = plots
    (choice,) = (each for each in plot.choices if each.name == ORGAN)
    assert (choice.left, choice.right) == (CONFIGURATION, OTHER)
    for key, (left, right) in zip(choice.cases, choice.values):
        assert (left, right) == pytest.approx((one[key][ORGAN], other[key][ORGAN]), rel=1e-5)


def test_one_configuration_is_not_compared(both: DatasetFolder) -> None:
    assert not comparison(open_source(both, configuration=CONFIGURATION))


def test_without_a_case_in_common_nothing_is_compared(copied: DatasetFolder) -> None:
    for configuration, fold in ((CONFIGURATION, "0"), (OTHER, "1")):
        shutil.rmtree(copied.run(configuration, fold).root)
    (notice,) = comparison(open_source(copied))
    assert isinstance(notice, Notice) and "no case and label in common" in notice.text


def test_what_earlier_versions_lack_is_left_out_and_said(made: DatasetFolder) -> None:
    found = list(cross_validation(open_source(made, pictures=False)))
    said = notices(found)
    assert "Calibration is not known of folds 0, 1 (validated by an earlier version)" in said
    assert "Risk against coverage leaves out folds 0, 1 (predictions were not measured)" in said
    assert titled(found, "All cases")
    assert not titled(found, "Reliability diagram") and not titled(found, "Predicted quality")


def test_what_is_damaged_is_named_and_the_others_are_counted(copied: DatasetFolder) -> None:
    first, second = (copied.run(CONFIGURATION, fold) for fold in FOLDS)
    first.calibration.write_text(first.calibration.read_text(encoding="utf-8").replace("0", "1", 1), encoding="utf-8")
    (first.validation / QUALITY).write_text("case,label\n")
    key = copied.read_folds().named("1").validation[0]
    (second.validation / f"{key}.nii.gz").write_bytes(b"no image")
    found = list(cross_validation(open_source(copied, configuration=CONFIGURATION, pictures=False)))
    said = notices(found)
    assert "Calibration is not known of fold 0 (" in said and "Risk against coverage leaves out fold 0 (" in said
    assert "Not in the confusion between labels: case" in said and str(copied.root.parent) not in said
    (matrix,), (table,) = titled(found, _confusion.TITLE), titled(found, "Calibration: expected calibration error")
    left = [each for each in validated(copied) if each != key]
    assert isinstance(matrix, Matrix) and np.array(matrix.amounts) == pytest.approx(3e-3 * joint(left), rel=1e-5)
    voxels = len(copied.read_folds().named("1").validation) * label_map(0).size
    assert isinstance(table, Table) and table.rows[0][1] == voxels


def test_calibration_of_other_cases_is_not_shown(copied: DatasetFolder) -> None:
    calibrated(copied, CONFIGURATION, "0", keys=[CASES[0]])
    said = notices(list(cross_validation(open_source(copied, configuration=CONFIGURATION, pictures=False))))
    assert "is of other cases than scores.json" in said


def test_the_better_one_is_better(both: DatasetFolder) -> None:
    """What the fixture says: the other configuration misses less of the organ, and no lesion."""
    for key in validated(both):
        wrong = [np.count_nonzero(predict(key) != label_map(CASES.index(key))) for predict in (better, predicted)]
        assert wrong[0] <= wrong[1]
    assert HOSTILE in LESION
