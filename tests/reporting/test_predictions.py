"""The page of a folder of predictions: figures are those of the files, and what is missing or damaged is said."""

from __future__ import annotations

import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from predicted import CASES, HOSTILE, LESION, LINES, QUALITY, VOXEL_ML, label_map, make_predictions
from reported import pixels
from scipy.spatial.distance import pdist

import autoseg
from autoseg.cli import main
from autoseg.core.records import read_json, write_json
from autoseg.data.images import read_case
from autoseg.parts.readers import read_labels, write_labels
from autoseg.pipeline.predictions import Predictions
from autoseg.reporting import predicted_blocks
from autoseg.reporting.pictures import UNSURE, unsure
from autoseg.reporting.predicted_cases import bytes_of, longest_diameter
from autoseg.reporting.predictions import open_predictions
from autoseg.reporting.story import predictions_report_after


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path) -> dict[str, dict]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text_of(page))
    assert found
    return {block["title"]: block for block in json.loads(found[1])}


def notices(page: Path) -> str:
    return " ".join(re.findall(r'<p class="notice">(.*?)</p>', text_of(page)))


def report(folder: Path, *words: str, code: int = 0) -> Path:
    assert main(["report", str(folder), "--threads", "1", *words]) == code
    return folder / "report.html"


@pytest.fixture(scope="module")
def page(predictions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return autoseg.report(predictions, output=tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture
def copied(predictions: Path, tmp_path: Path) -> Path:
    """To be damaged."""
    shutil.copytree(predictions, tmp_path / "out")
    return tmp_path / "out"


def changed(folder: Path, **fields: object) -> None:
    path = folder / "predictions.json"
    write_json(path, replace(read_json(path, Predictions), **fields), sealed=True)


def test_quality_is_that_of_the_table_and_the_most_doubtful_case_comes_first(page: Path) -> None:
    rows = blocks(page)["How good they are likely to be"]["rows"]
    assert len(rows) == len(CASES) * 2
    for key, label, dice, error, agreement, folds, _ in rows:
        expected = QUALITY[key][label]
        given = (expected.agreement, expected.fold_dice, expected.predicted_dice)
        assert (agreement, folds, dice) == tuple(None if value is None else pytest.approx(value) for value in given)
        assert error == (None if expected.predicted_dice is None else LINES[label].error)
    assert [row[0] for row in rows[::2]] == CASES  # the organ's Dice rises from case to case
    worth = blocks(page)["What a predicted Dice is worth"]["rows"]
    assert worth == [["organ", 20, 0.875, 0.03125, "this label"], [LESION, 20, None, 0.0625, "all labels"]]


def test_cases_are_looked_at_one_by_one_where_memory_holds_no_two(predictions: Path, monkeypatch) -> None:
    source = open_predictions(predictions, threads=4)
    case = source.record.cases[0]
    assert bytes_of(case) == math.prod(read_case(case, None).geometry.shape) * (16 + 8 * len(source.record.channels))
    assert bytes_of(replace(case, images=())) == 0
    monkeypatch.setattr(predicted_blocks, "SHARE_OF_MEMORY", 0.0)
    one = [section.name for section in predicted_blocks.prediction_sections(source)]
    assert one == ["quality", "pictures", "volumes"]


def test_volumes_and_components_by_hand(page: Path) -> None:
    found = {(row[0], row[1]): row[2:] for row in blocks(page)["All labels"]["rows"]}
    parts = {(row[0], row[1], row[2]): row[3:] for row in blocks(page)["The largest components of each label"]["rows"]}
    for number, key in enumerate(CASES):
        voxels = 2 * 3 * (4 + number)
        assert found[key, "organ"] == [pytest.approx((voxels + 1) * VOXEL_ML, rel=1e-5), 2]
        volume, diameter, mean = parts[key, "organ", 1]
        assert volume == pytest.approx(voxels * VOXEL_ML, rel=1e-5)
        assert diameter == pytest.approx(math.hypot(3.0, 2.0, 0.5 * (3 + number)), rel=1e-5)
        assert mean == pytest.approx(100 + 900 * (number == 5), abs=1)
        assert parts[key, "organ", 2][:2] == [pytest.approx(VOXEL_ML), 0]  # one voxel
        there = number < 6
        assert found[key, LESION] == [pytest.approx(2 * VOXEL_ML * there), int(there)]
        assert ((key, LESION, 1) in parts) == there
    assert parts["case_0", LESION, 1][1] == 1


def test_what_is_unlike_the_training_data_is_told_with_its_range(page: Path) -> None:
    rows = blocks(page)["Unlike the training data"]["rows"]
    assert [row[:2] for row in rows if row[0] == "case_3"] == [["case_3", "orientation"]]
    bright = [row for row in rows if row[0] == "case_5"]
    assert [row[1].partition(", ")[2] for row in bright] == ["1st percentile", "median", "99th percentile"]
    assert bright[1][3] == "0 to 1" and 899 < float(bright[1][2]) < 902
    assert {row[0] for row in rows} == {"case_3", "case_5"}
    flagged = {row[0]: row[-1] for row in blocks(page)["How good they are likely to be"]["rows"]}
    assert flagged == {key: {"case_3": 1, "case_5": 3}.get(key, 0) for key in CASES}


def test_the_most_doubtful_cases_are_drawn_with_their_uncertainty(page: Path) -> None:
    (drawn,) = (block for title, block in blocks(page).items() if title.startswith("The 5 cases"))
    assert [each["case"] for each in drawn["cases"]] == CASES[:5]
    assert (drawn["first"], drawn["last"]) == ("prediction", "uncertainty")
    assert drawn["errors"] == [list(each) for each in UNSURE]
    assert drawn["cases"][0]["told"].startswith("predicted Dice of organ 0.450")
    assert "orientation RPS" in drawn["cases"][3]["told"]
    axial = drawn["cases"][0]["views"][0]
    assert axial["place"].startswith("slice 4 of 10")  # where most voxels are unsure, 20 of slice 3 and 7 alike
    marks = pixels(axial["errors"])
    assert set(np.unique(marks)) == {0, 3} and (marks[6] == 3).all()
    assert [view["errors"] for view in drawn["cases"][2]["views"]] == [None] * 3
    layers = [[layer["name"] for layer in each["volume"]["layers"]] for each in drawn["cases"]]
    assert layers[0] == ["prediction", "uncertainty"] and layers[2] == ["prediction"]


def test_a_case_that_lies_the_other_way_round_is_drawn_the_right_way(page: Path) -> None:
    """Its organ lies at the end of x instead of the beginning; radiological convention has R on the left."""
    (drawn,) = (block for title, block in blocks(page).items() if title.startswith("The 5 cases"))
    columns = {}
    for number in (2, 3):
        view = drawn["cases"][number]["views"][0]
        assert view["letters"][:2] == ["R", "L"]
        columns[number] = np.flatnonzero((pixels(view["reference"]) == 1).any(0))
    assert columns[2].min() == 1 and columns[3].max() == 18


def test_classes_of_uncertainty() -> None:
    assert unsure(np.array([0.0, 0.24, 0.25, 0.5, 0.89, 0.9, 3.0])).tolist() == [0, 0, 1, 2, 2, 3, 3]


def test_the_page_names_no_folder_and_nothing_runs(page: Path) -> None:
    assert "somewhere_private" not in text_of(page) and str(page.parent) not in text_of(page)
    assert HOSTILE not in text_of(page)


@pytest.mark.parametrize(
    ("voxels", "expected"),
    [
        ([(1, 1, 1)], 0.0),
        ([(1, 1, 1), (1, 1, 4)], 1.5),
        ([(0, 0, 0), (1, 1, 1), (2, 2, 2)], math.hypot(6, 4, 1)),  # on a line through the volume
        ([(z, y, z) for z in range(4) for y in range(5)], math.hypot(9, 8, 1.5)),  # in a plane that lies askew
        ([(2, y, x) for y in range(5) for x in range(5)], math.hypot(8, 2)),
    ],
)
def test_the_longest_diameter_of_anything(voxels: list[tuple[int, int, int]], expected: float) -> None:
    mask = np.zeros((6, 6, 6), bool)
    mask[tuple(np.array(voxels).T)] = True
    assert longest_diameter(mask, (3.0, 2.0, 0.5)) == pytest.approx(expected, rel=1e-6)


def test_the_longest_diameter_is_that_of_all_pairs() -> None:
    mask = np.random.default_rng(0).random((9, 11, 10)) > 0.9
    points = np.argwhere(mask) * (3.0, 1.0, 0.7)
    assert longest_diameter(mask, (3.0, 1.0, 0.7)) == pytest.approx(pdist(points).max())


def test_a_folder_of_another_version_or_a_damaged_record_is_told(copied: Path, capsys) -> None:
    record = copied / "predictions.json"
    whole = record.read_text()
    record.write_text(whole.replace('"Model"', '"Other"'))
    report(copied, code=2)
    said = capsys.readouterr().err
    assert "is not what was written" in said and "--continue" in said and "Traceback" not in said
    record.write_text("{}")
    report(copied, code=2)
    record.unlink()
    (copied / "predicted.jsonl").write_text("")
    report(copied, code=2)
    assert "predicted by an earlier autoseg" in capsys.readouterr().err
    assert not (copied / "report.html").exists()


@pytest.mark.parametrize("ending", ["/../../x.nii.gz", "", ".mhd", ".exe"])
def test_an_ending_that_nothing_is_written_with_is_refused(copied: Path, ending: str, capsys) -> None:
    record = copied / "predictions.json"
    found = json.loads(record.read_text()) | {"file_ending": ending}
    del found["checksum"]
    record.write_text(json.dumps(found))
    report(copied, code=2)
    said = capsys.readouterr().err
    assert "file_ending must be one of" in said and "Traceback" not in said


def test_a_damaged_table_of_quality_is_told_on_the_page(copied: Path) -> None:
    (copied / "quality.csv").write_text("case,label\r\n")
    page = report(copied)
    assert "quality.csv: its columns must be" in notices(page) and "an earlier autoseg predicted" in notices(page)
    assert "How good they are likely to be" not in blocks(page) and blocks(page)["All labels"]["rows"]


def test_without_what_the_model_could_tell_the_rest_is_there(copied: Path) -> None:
    changed(copied, lines={}, training=None)
    page = report(copied)
    assert "No Dice is predicted" in notices(page) and "training data were like is not known" in notices(page)
    assert "Unlike the training data" not in blocks(page)
    told = next(block for title, block in blocks(page).items() if title.startswith("The 5"))["cases"][0]["told"]
    assert told.startswith("predicted Dice")  # of when it was predicted


def test_images_that_are_gone_and_label_maps_that_cannot_be_read_are_told(copied: Path) -> None:
    cases = list(read_json(copied / "predictions.json", Predictions).cases)
    gone = replace(cases[0], images=(replace(cases[0].images[0], file="/nowhere/else/x_0000.nii.gz"),))
    changed(copied, cases=(gone, *cases[1:]))
    (copied / "case_1.nii.gz").write_bytes(b"no image")
    (copied / "case_2.nii.gz").unlink()
    page = report(copied, "--no-pictures")
    assert "1 image could not be looked at: case case_0" in notices(page) and "/nowhere" not in text_of(page)
    assert "2 cases without a label map that can be read: case case_1" in notices(page)
    parts = blocks(page)["The largest components of each label"]["rows"]
    assert next(row for row in parts if row[0] == "case_0")[-1] is None
    assert {row[0] for row in blocks(page)["All labels"]["rows"]} == {*CASES} - {"case_1", "case_2"}
    assert not any(title.startswith("The 5") for title in blocks(page))


def test_a_label_that_every_training_case_has_and_is_not_predicted_is_told_first(tmp_path: Path) -> None:
    folder = make_predictions(tmp_path, uncertainty=False)
    _, geometry = read_labels(folder / "case_4.nii.gz")
    write_labels(np.where(label_map(4) == 1, 0, label_map(4)).astype(np.uint8), geometry, folder / "case_4.nii.gz")
    text = (folder / "quality.csv").read_text()
    (folder / "quality.csv").write_bytes(re.sub(r"(case_4,organ),[^\n]*\n", r"\1,,,\r\n", text).encode())
    page = report(folder)
    rows = blocks(page)["Unlike the training data"]["rows"]
    assert ["case_4", "label organ", "not predicted", "in each of 20 cases"] in rows
    assert blocks(page)["How good they are likely to be"]["rows"][0][0] == "case_4"


def test_a_page_that_cannot_be_made_is_a_warning(copied: Path, caplog: pytest.LogCaptureFixture) -> None:
    (copied / "report.html").write_text("mine")
    predictions_report_after(copied, 1)
    assert "no report was written" in caplog.text and (copied / "report.html").read_text() == "mine"
