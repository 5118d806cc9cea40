"""`autoseg report` as it is typed: figures are those of the files, and what is missing or damaged is said."""

from __future__ import annotations

import csv
import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from reported import CASES, CONFIGURATION, HOSTILE, NAME, label_map, make_raw, predicted

import autoseg
from autoseg.bundle.bundle import read_bundle
from autoseg.cli import main
from autoseg.errors import AutosegError
from autoseg.evaluation.quality_table import read_quality
from autoseg.reporting.page import refuse_foreign
from autoseg.reporting.story import report_after
from autoseg.workspace import DatasetFolder, Workspace

FOLDS = ("0", "1")


def blocks(path: Path) -> list[dict]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text(encoding="utf-8"))
    return json.loads(found[1])


def titled(path: Path, title: str) -> list[dict]:
    return [block for block in blocks(path) if block["title"] == title]


def report(files: DatasetFolder, target: str | Path = NAME, *words: str, code: int = 0) -> Path:
    path = files.root.parent.parent / "page" / "report.html"
    path.unlink(missing_ok=True)
    said = [str(target), "-o", str(path), "--threads", "1", "--workspace", str(files.root.parent), *words]
    assert main(["report", *said]) == code
    return path


@pytest.fixture(scope="module")
def written(made: DatasetFolder) -> Path:
    path = report(made)
    kept = path.with_name("kept.html")
    shutil.copy(path, kept)
    return kept


@pytest.fixture
def copied(made: DatasetFolder, tmp_path: Path) -> DatasetFolder:
    """To be damaged."""
    shutil.copytree(made.root, tmp_path / "workspace" / NAME)
    return Workspace(tmp_path / "workspace").dataset_folder(NAME)


def rows_of(made: DatasetFolder, fold: str) -> dict[tuple[str, str], dict[str, str]]:
    with (made.run(CONFIGURATION, fold).validation / "scores.csv").open(newline="", encoding="utf-8") as file:
        return {(row.pop("case"), row.pop("label")): row for row in csv.DictReader(file)}


def same(cell: float | None, text: str) -> bool:
    return text == "" if cell is None else cell == float(text)


def test_the_table_of_all_cases_is_scores_csv(made: DatasetFolder, written: Path) -> None:
    (table,) = titled(written, "All cases")
    expected = {(fold, *key): row for fold in FOLDS for key, row in rows_of(made, fold).items()}
    found = {(fold, key, label): numbers for key, fold, label, *numbers in table["rows"]}
    assert {*found} == {*expected} and len(table["rows"]) == len(expected)
    for key, row in expected.items():
        assert len(found[key]) == len(row)
        assert all(same(cell, text) for cell, text in zip(found[key], row.values()))


def test_means_and_points_are_those_of_the_cases(made: DatasetFolder, written: Path) -> None:
    (means,), (swarm,) = titled(written, "Scores per label"), titled(written, "Scores of all cases")
    dice = {key: float(row["dice"]) for fold in FOLDS for key, row in rows_of(made, fold).items() if row["dice"]}
    columns = [column["name"] for column in means["columns"]]
    for row in means["rows"][:-1]:
        mean, low, high = (row[columns.index(name)] for name in ("Dice", "95 % from", "95 % to"))
        known = [value for (_, label), value in dice.items() if label == row[0]]
        assert mean == pytest.approx(np.mean(known), abs=1e-5) and low <= mean <= high and row[1] == len(known)
    points = {
        (key, group["name"]): value
        for group in swarm["choices"][0]["groups"]
        for key, value in zip(group["cases"], group["values"])
    }
    assert swarm["choices"][0]["name"] == "Dice" and points == dice


def test_dice_stands_against_the_size_in_ml(written: Path) -> None:
    (scatter,) = titled(written, "Dice against size")
    organ = next(series for series in scatter["series"] if series["name"] == "organ")
    for key, size in zip(organ["cases"], organ["x"]):
        assert size == pytest.approx(3e-3 * np.count_nonzero(label_map(CASES.index(key)) == 1), rel=1e-5)


def test_best_median_and_worst_cases_are_drawn(made: DatasetFolder, written: Path) -> None:
    (pictures,) = titled(written, "Best, median and worst cases")
    rows = {key: row for fold in FOLDS for key, row in rows_of(made, fold).items()}
    keys = dict.fromkeys(key for key, _ in rows)
    mean = {
        key: np.mean([float(row["dice"]) for (of, _), row in rows.items() if of == key and row["dice"]]) for key in keys
    }
    ranked = sorted(keys, key=lambda key: (mean[key], key))
    shown = [picture["case"] for picture in pictures["cases"]]
    assert shown == [*dict.fromkeys([ranked[-1], ranked[len(ranked) // 2], *ranked[:5]])]
    assert all(len(picture["views"]) == 3 and picture["views"][0]["errors"] for picture in pictures["cases"])


def test_curves_are_those_of_metrics_csv(made: DatasetFolder, written: Path) -> None:
    with made.run(CONFIGURATION, "0").metrics.open(newline="") as file:
        rows = [*csv.DictReader(file)]
    found = {block["title"]: block for block in blocks(written) if block["kind"] == "lines"}
    assert {*found} == {
        "Loss",
        "Dice during training",
        "Learning rate",
        "Time per iteration",
        "Waiting for data",
        "Memory",
    }
    loss = found["Loss"]["choices"][0]["series"]
    assert [series["name"] for series in loss] == ["fold 0", "fold 1"]
    assert loss[0]["y"] == [float(row["loss"]) for row in rows]
    mean, organ = found["Dice during training"]["choices"]
    assert mean["series"][0]["y"] == [None, *(float(row["dice"]) for row in rows[1:])]
    assert organ["name"] == "organ" and organ["series"][0]["y"] == [float(row["dice_organ"]) for row in rows]
    assert found["Waiting for data"]["choices"][0]["series"][0]["y"] == [25.0] * 12
    assert found["Memory"]["choices"][0]["series"][0]["y"] == [2.0] * 12


def test_sizes_of_labels_and_folds_are_counted(made: DatasetFolder, written: Path) -> None:
    (sizes,) = titled(written, "Size per label (ml)")
    for group, value in zip(sizes["choices"][0]["groups"], (1, 2)):
        for key, size in zip(group["cases"], group["values"]):
            assert size == pytest.approx(3e-3 * np.count_nonzero(label_map(CASES.index(key)) == value), rel=1e-5)
    (folds,) = titled(written, "Folds")
    expected = [[len(fold.train), len(fold.validation)] for fold in made.read_folds().folds]
    assert [row[1:3] for row in folds["rows"]] == expected
    assert folds["columns"][3]["name"] == "patients"


def test_every_decision_stands_there_with_its_reason(made: DatasetFolder, written: Path) -> None:
    plan = made.read_plan()
    names = sorted(plan.configurations, key=lambda name: name != plan.default)
    reasons = [*plan.reasons, *(reason for name in names for reason in plan.configurations[name].reasons)]
    tables = [block for block in blocks(written) if block["title"] in ("Decisions for all configurations", "Decisions")]
    assert [": ".join(row) for table in tables for row in table["rows"]] == reasons and reasons
    networks = [block for block in blocks(written) if block["kind"] == "unet"]
    for name, network in zip(names, networks, strict=True):
        configuration = plan.configurations[name]
        assert [stage["features"] for stage in network["stages"]] == list(configuration.network.features)
        assert network["stages"][0]["size"] == " x ".join(map(str, configuration.patch_size))


def test_a_page_names_no_folder_and_no_patient(made: DatasetFolder, written: Path, tmp_path: Path) -> None:
    text = written.read_text(encoding="utf-8")
    assert "somewhere_private" not in text and str(made.root.parent) not in text and str(tmp_path.parent) not in text
    assert "window.broken=1</script>" not in text and "<img" not in text
    assert HOSTILE in [row[2].removeprefix("a ") for row in titled(written, "All cases")[0]["rows"]]


def test_without_pictures_there_is_no_image(made: DatasetFolder) -> None:
    path = report(made, NAME, "--no-pictures")
    assert "data:image" not in path.read_text(encoding="utf-8")
    assert titled(path, "All cases") and not [block for block in blocks(path) if block["kind"] == "pictures"]


@pytest.mark.parametrize("fold", [None, "1"])
def test_a_run_has_a_page_of_its_own(made: DatasetFolder, fold: str | None) -> None:
    folder = made.runs(CONFIGURATION) if fold is None else made.run(CONFIGURATION, fold).root
    path = report(made, folder, "--no-pictures")
    (table,) = titled(path, "All cases")
    assert {row[1] for row in table["rows"]} == ({"0", "1"} if fold is None else {fold})
    if fold is None:
        return
    whole = json.loads(made.run(CONFIGURATION, fold).scores.read_text(encoding="utf-8"))["overall"]["dice"]
    (means,) = titled(path, "Scores per label")
    columns = [column["name"] for column in means["columns"]]
    found = [means["rows"][-1][columns.index(name)] for name in ("Dice", "95 % from", "95 % to")]
    assert found[0] == pytest.approx(whole["mean"], rel=1e-5)
    assert found[1:] == [None, None] == [whole["low"], whole["high"]], "two patients have no interval"


def test_the_page_lies_in_the_workspace_and_is_replaced(copied: DatasetFolder) -> None:
    paths = [autoseg.report(NAME, copied.root.parent, pictures=False) for _ in range(2)]
    assert paths == [copied.root / "report.html"] * 2
    assert autoseg.report(copied.run(CONFIGURATION, "0").root).parent == copied.run(CONFIGURATION, "0").root
    refuse_foreign(paths[0])


def test_what_is_missing_is_said(copied: DatasetFolder) -> None:
    shutil.rmtree(copied.root / "runs")
    copied.fingerprint.unlink()
    copied.plan.unlink()
    text = report(copied).read_text(encoding="utf-8")
    assert "Nothing was planned yet" in text and "were not measured yet" in text
    assert 'id="cross_validation"' not in text and 'id="training"' not in text and 'id="dataset"' in text


def test_what_is_damaged_is_named_and_the_rest_is_shown(copied: DatasetFolder) -> None:
    run = copied.run(CONFIGURATION, "0")
    run.scores.write_text(run.scores.read_text(encoding="utf-8").replace("0.", "1.", 1), encoding="utf-8")
    run.metrics.write_bytes(b"\xff\x00")
    copied.fingerprint.write_text("{")
    key = next(iter(copied.read_folds().named("1").validation))
    (copied.run(CONFIGURATION, "1").validation / f"{key}.nii.gz").write_bytes(b"no image")
    path = report(copied)
    text = path.read_text(encoding="utf-8")
    for said in ("fold 0: ", "fingerprint.json", "metrics.csv cannot be read", "Not drawn: case"):
        assert said in text, said
    assert str(copied.root.parent) not in text
    assert {row[1] for row in titled(path, "All cases")[0]["rows"]} == {"1"}


def test_images_that_are_gone_are_said(copied: DatasetFolder) -> None:
    record = json.loads(copied.dataset.read_text(encoding="utf-8"))
    del record["checksum"]
    copied.dataset.write_text(json.dumps(record).replace("somewhere_private", "elsewhere_now"))
    path = report(copied)
    text = path.read_text(encoding="utf-8")
    assert f"{len(CASES)} label maps cannot be read" in text and "Not drawn" in text and "elsewhere_now" not in text
    assert titled(path, "All cases") and titled(path, "Problems")


def test_what_is_no_dataset_is_a_message(
    made: DatasetFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stray = tmp_path / "runs" / "3d" / "fold_0"
    stray.mkdir(parents=True)
    for target in ("nowhere", stray, tmp_path):
        report(made, target, code=2)
        said = capsys.readouterr().err
        assert said.startswith("autoseg report: ") and "Traceback" not in said
    other = tmp_path / "notes.html"
    other.write_text("mine")
    assert main(["report", NAME, "-o", str(other), "--workspace", str(made.root.parent)]) == 2
    assert other.read_text() == "mine"
    with pytest.raises(AutosegError):
        autoseg.report(NAME, made.root.parent, output=other)


def test_predictions_are_what_the_fixture_says(made: DatasetFolder) -> None:
    """The errors that the pictures show are known: the last columns of the organ are missed."""
    rows = {key: row for fold in FOLDS for key, row in rows_of(made, fold).items()}
    for (key, label), row in rows.items():
        if label == "organ":
            assert float(row["prediction_voxels"]) == np.count_nonzero(predicted(key) == 1)
            assert not math.isnan(float(row["dice"]))


@pytest.mark.slow
def test_preparing_train_and_select_write_the_page_by_themselves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace, raw = tmp_path / "workspace", make_raw(tmp_path / NAME)
    at = ["--workspace", str(workspace), "--device", "cpu", "--threads", "1"]
    page = workspace / NAME / "report.html"
    prepare = ["plan_and_preprocess", str(raw), "--planner", "tiny", "-c", "2d", *at]
    assert main([*prepare, "--no-report"]) == 0 and not page.exists()
    assert main(prepare) == 0
    assert titled(page, "Size per label (ml)") and titled(page, "Decisions for all configurations")
    text = page.read_text(encoding="utf-8")
    assert 'id="training"' not in text and "data:image/png" not in text
    page.unlink()
    train = ["train", NAME, "0", "-c", "2d", "--epochs", "1", "--set", "training.iterations_per_epoch=2", *at]
    assert main([*train, "--no-report"]) == 0 and not page.exists()
    page.write_text("notes of mine")
    capsys.readouterr()
    assert main(train) == 0  # a page that cannot be written is a warning
    assert page.read_text() == "notes of mine" and "no report was written" in capsys.readouterr().err
    page.unlink()
    assert main(train) == 0
    (table,) = titled(page, "All cases")
    assert {row[0] for row in table["rows"]} == set(
        Workspace(workspace).dataset_folder(NAME).read_folds()[0].validation
    )
    (memory,) = titled(page, "Memory")
    assert memory["choices"][0]["series"][0]["y"][0] > 0.05  # GB, of a process that has loaded torch
    keys = Workspace(workspace).dataset_folder(NAME).read_folds()[0].validation
    quality = read_quality(Workspace(workspace).dataset_folder(NAME).run("2d", "0").validation / "quality.csv")
    assert [*quality] == sorted(keys)  # agreement of the validation cases, for the Dice of predictions
    assert all(each.fold_dice is None for rows in quality.values() for each in rows.values())
    page.unlink()
    select = ["select", NAME, "-f", "0", "--no-mirroring-test", *at]
    assert main([*select, "--no-report"]) == 0 and not page.exists()
    assert main(select) == 0 and titled(page, "All cases")
    known = read_bundle(Workspace(workspace).dataset_folder(NAME).selected).manifest.training
    assert known is not None and known.cases == len(CASES) and known.spacing["feet-head"].low == 3.0
    assert main(prepare) == 0 and titled(page, "All cases") and "data:image/png" in page.read_text(encoding="utf-8")


def test_whatever_befalls_the_page_training_has_succeeded(
    copied: DatasetFolder, caplog: pytest.LogCaptureFixture
) -> None:
    (copied.root / "report.html").mkdir()
    report_after(copied, 1)
    assert "no report was written" in caplog.text
    (copied.root / "report.html").rmdir()
    copied.dataset.unlink()
    report_after(copied, 1)
    assert "plan_and_preprocess" in caplog.text
