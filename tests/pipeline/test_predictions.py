"""What `predict` notes about the quality of its predictions, and its page; label maps stay as they are."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import pytest
from small_models import EXCLUSIVE, GEOMETRY, REGIONS, bundle, image, plan_of, predict, prepared

import autoseg
from autoseg.cli import main
from autoseg.core.dice_line import DiceLine
from autoseg.core.labels import Labels
from autoseg.core.locks import alone
from autoseg.core.masks import MaskLabels
from autoseg.core.records import read_json
from autoseg.data.training_ranges import Range, TrainingRanges
from autoseg.errors import UsageError
from autoseg.evaluation.quality_table import read_quality
from autoseg.inference.model import Model
from autoseg.inference.options import PredictOptions
from autoseg.inference.outputs import AGREEMENT
from autoseg.inference.outputs.agreement import Agreement
from autoseg.parts.readers import write_channels
from autoseg.pipeline.predictions import LOCK, Predictions, QualityFile, refuse_others
from autoseg.pipeline.results import Results
from autoseg.plan import Plan
from autoseg.settings import RunSettings

MASKS = MaskLabels(("one", "two"))
FAST = RunSettings(device="cpu", precision="float32", threads=1)
LINES = {"organ": DiceLine(0.5, 0.25, 0.1, 0.5, 12)}
TRAINING = TrainingRanges(12, {"feet-head": Range(1.0, 1.5)}, {}, ("LPS",), (), (), ("organ",))


@pytest.fixture
def folder(small_plan: Plan, tmp_path: Path) -> Path:
    return prepared(small_plan, EXCLUSIVE, tmp_path, predicted_dice=LINES, training=TRAINING)


@pytest.mark.slow
@pytest.mark.parametrize("labels", [EXCLUSIVE, REGIONS, MASKS], ids=lambda labels: labels.KIND)
def test_agreement_is_noted_of_every_case_and_label(small_plan: Plan, labels: Labels, tmp_path: Path) -> None:
    folder = prepared(small_plan, labels, tmp_path)
    assert predict(folder, "--no-report") == 0
    assert not (folder / "out" / "report.html").exists()
    table = read_quality(folder / "out" / "quality.csv")
    assert {key: [*rows] for key, rows in table.items()} == {key: [*labels.foreground] for key in ("case0", "case1")}
    model = Model.read(folder / "model.zip", settings=FAST)
    source = [folder / "in" / "case1_0000.nii.gz"]
    found = model.segment(source, PredictOptions("none"), outputs=[AGREEMENT]).results[AGREEMENT]
    for label, each in found.items():
        assert table["case1"][label].agreement == pytest.approx(each.expected_dice, rel=1e-4)
        assert table["case1"][label].fold_dice == pytest.approx(each.fold_dice, rel=1e-4)
        assert table["case1"][label].predicted_dice is None  # this model knows no line


def test_the_page_is_made_and_says_what_the_bundle_knows(folder: Path) -> None:
    assert predict(folder) == 0
    page = (folder / "out" / "report.html").read_text(encoding="utf-8")
    assert "predictions by Small" in page and "voxel spacing feet-head" in page
    rows = read_quality(folder / "out" / "quality.csv")["case0"]
    assert rows["organ"].predicted_dice == pytest.approx(0.25 + 0.5 * rows["organ"].agreement, rel=1e-4)
    assert rows["lesion"].predicted_dice is None
    record = read_json(folder / "out" / "predictions.json", Predictions)
    assert (record.lines, record.training, record.networks) == (LINES, TRAINING, 4)
    assert [case.key for case in record.cases] == ["case0", "case1"]
    (folder / "out" / "report.html").unlink()
    assert autoseg.report(folder / "out") == folder / "out" / "report.html"


@pytest.mark.slow
def test_label_maps_are_the_same_bytes_as_without_it(folder: Path) -> None:
    from autoseg.pipeline.predict import predict as story
    from autoseg.pipeline.to_predict import images_to_predict

    assert predict(folder) == 0
    model = Model.read(folder / "model.zip", settings=FAST)
    cases, _ = images_to_predict(model, [folder / "in"])
    story(model, cases, folder / "without", options=PredictOptions("none"))
    assert sorted(path.name for path in (folder / "without").iterdir()) == [
        *("case0.nii.gz", "case1.nii.gz", "dataset.json", "predicted.jsonl")
    ]
    for name in ("case0.nii.gz", "case1.nii.gz", "dataset.json"):
        assert (folder / "without" / name).read_bytes() == (folder / "out" / name).read_bytes()


@pytest.mark.slow
def test_cases_of_before_stay_and_a_run_that_was_killed_goes_on(folder: Path) -> None:
    assert predict(folder, "--no-report") == 0
    path = folder / "out" / "quality.csv"
    whole = path.read_bytes()
    write_channels(image(2).array, GEOMETRY, folder / "in" / "case2_0000.nii.gz")
    (folder / "in" / "case0_0000.nii.gz").unlink()
    assert predict(folder, "--no-report", "--continue") == 0
    assert [*read_quality(path)] == ["case0", "case1", "case2"] and path.read_bytes().startswith(whole)
    record = read_json(folder / "out" / "predictions.json", Predictions)
    assert [case.key for case in record.cases] == ["case0", "case1", "case2"]
    with (folder / "out" / "predicted.jsonl").open("a") as file:  # as a kill leaves it
        file.write('{"file": "quality.csv"}\n')
    path.write_bytes(path.read_bytes()[:-4])
    (folder / "out" / "case2.nii.gz").unlink()
    assert predict(folder, "--no-report", "--continue") == 0
    assert [*read_quality(path)] == ["case0", "case1", "case2"]


@pytest.mark.parametrize("name", ["quality.csv", "predictions.json"])
def test_nobody_else_s_files_are_replaced(folder: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "out").mkdir()
    (folder / "out" / name).write_text("mine")
    assert predict(folder) == 2
    assert f"{name} is not what `autoseg predict` wrote there" in capsys.readouterr().err
    assert (folder / "out" / name).read_text() == "mine" and not (folder / "out" / "case0.nii.gz").exists()
    assert predict(folder, "--overwrite", "--no-report") == 0
    assert [*read_quality(folder / "out" / "quality.csv")] == ["case0", "case1"]


def test_a_case_that_fails_has_no_rows_and_a_page_is_made_all_the_same(folder: Path) -> None:
    (folder / "in" / "case1_0000.nii.gz").write_bytes(b"no image")
    assert predict(folder) == 1
    assert [*read_quality(folder / "out" / "quality.csv")] == ["case0"]
    assert (folder / "out" / "report.html").exists()


def test_a_page_that_fails_does_not_fail_the_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "report.html").write_text("mine")
    assert predict(folder) == 0
    assert "no report was written" in capsys.readouterr().err
    assert (folder / "out" / "report.html").read_text() == "mine"


@pytest.mark.parametrize(
    ("field", "value"),
    [("predicted_dice", {"organ": {"slope": -1}}), ("predicted_dice", 3), ("training", {"cases": "many"})],
)
def test_a_damaged_record_in_a_bundle_is_told(
    folder: Path, field: str, value: object, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.unpack_archive(folder / "model.zip", folder / "unpacked")
    manifest = folder / "unpacked" / "model.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {field: value}))
    words = ["predict", "-m", str(folder / "unpacked"), "-i", str(folder / "in"), "-o", str(folder / "out")]
    assert main([*words, "--device", "cpu", "--workspace", str(folder / "workspace")]) == 2
    said = capsys.readouterr().err
    assert f"model.json.{field}" in said and "Traceback" not in said and not (folder / "out").exists()


def test_a_bundle_of_before_still_predicts(folder: Path) -> None:
    shutil.unpack_archive(folder / "model.zip", folder / "unpacked")
    manifest = folder / "unpacked" / "model.json"
    known = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({name: known[name] for name in known if name not in ("predicted_dice", "training")}))
    autoseg.predict(folder / "unpacked", folder / "in", folder / "out", tta="none", settings=FAST)
    page = (folder / "out" / "report.html").read_text(encoding="utf-8")
    assert page.count("What the training data were like is not known") == 1 and "No Dice is predicted" in page


def test_cases_of_another_model_are_told_and_left_out(
    folder: Path, small_plan: Plan, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(folder, "--no-report") == 0
    write_channels(image(2).array, GEOMETRY, folder / "in" / "case2_0000.nii.gz")
    (folder / "in" / "case0_0000.nii.gz").unlink()
    (folder / "model.zip").unlink()
    bundle(folder / "model.zip", plan_of(small_plan, REGIONS), {"3d_fullres": 0.5, "2d": 0.5})
    capsys.readouterr()
    assert predict(folder, "--no-report", "--overwrite") == 0
    said = capsys.readouterr().err
    assert "predictions.json lists no longer what another model, Small, predicted" in said and "(case0)" in said
    record = read_json(folder / "out" / "predictions.json", Predictions)
    assert [case.key for case in record.cases] == ["case1", "case2"] and record.labels == REGIONS


def test_two_runs_at_once_keep_each_other_s_rows(tmp_path: Path) -> None:
    """The second goes on after the first has ended, and is killed."""
    found = {"organ": Agreement(0.9, 0.8)}
    first = QualityFile.begun(tmp_path, LINES, Results.read(tmp_path))
    known = Results.read(tmp_path)
    first.add("case0", found)
    first.end()
    second = QualityFile.begun(tmp_path, LINES, known)
    first.end()
    second.add("case1", found)
    refuse_others(Results.read(tmp_path), "keep")
    third = QualityFile.begun(tmp_path, LINES, Results.read(tmp_path))
    third.end()
    assert [*read_quality(tmp_path / "quality.csv")] == ["case0", "case1"]


def test_a_noted_table_that_somebody_replaced_is_theirs(tmp_path: Path) -> None:
    table = QualityFile.begun(tmp_path, LINES, Results.read(tmp_path))
    table.end()
    (tmp_path / "quality.csv").write_text("mine")
    with pytest.raises(UsageError, match=r"quality\.csv is not what"):
        refuse_others(Results.read(tmp_path), "keep")


def test_a_row_that_is_added_waits_for_whoever_replaces_the_table(tmp_path: Path) -> None:
    table = QualityFile.begun(tmp_path, LINES, Results.read(tmp_path))
    with alone(tmp_path / LOCK, "predict"):
        adding = threading.Thread(target=table.add, args=("case0", {"organ": Agreement(0.9, 0.8)}))
        adding.start()
        adding.join(0.3)
        assert adding.is_alive() and read_quality(table.path) == {}
    adding.join(30)
    assert [*read_quality(table.path)] == ["case0"]
