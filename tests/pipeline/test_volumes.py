"""What `predict` leaves in OUT beside label maps: the names of the labels, and volumes where they are asked for."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from small_models import EXCLUSIVE, GEOMETRY, REGIONS, image, predict, prepared

from autoseg.cli import main
from autoseg.core.labels import Labels
from autoseg.core.masks import MaskLabels
from autoseg.data import dataset_json
from autoseg.data.label_maps import files_in, read_label_map
from autoseg.parts.readers import write_channels
from autoseg.plan import Plan

MASKS = MaskLabels(("one", "two"))


@pytest.fixture
def folder(small_plan: Plan, tmp_path: Path) -> Path:
    return prepared(small_plan, EXCLUSIVE, tmp_path)


def table(folder: Path) -> dict[tuple[str, str], tuple[int, float]]:
    with (folder / "out" / "volumes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {(row["case"], row["label"]): (int(row["voxels"]), float(row["volume_ml"])) for row in rows}


@pytest.mark.parametrize("labels", [EXCLUSIVE, REGIONS, MASKS], ids=lambda labels: labels.KIND)
def test_volumes_are_those_of_the_label_maps_in_ml(small_plan: Plan, labels: Labels, tmp_path: Path) -> None:
    folder = prepared(small_plan, labels, tmp_path)
    assert predict(folder, "--volumes") == 0
    found = table(folder)
    assert len(found) == 2 * len(labels.foreground)
    for (key, name), (voxels, ml) in found.items():
        array, _ = read_label_map(files_in(folder / "out", key, ".nii.gz", labels), labels)
        assert voxels == np.isin(array, labels.foreground[name]).sum() > 0
        assert ml == pytest.approx(voxels * 3.0 * 1.5 * 2.0 / 1000, rel=1e-5)


@pytest.mark.slow
def test_cases_of_before_are_in_the_table_and_nobody_elses_is_replaced(folder: Path, capsys) -> None:
    assert predict(folder) == 0
    assert not (folder / "out" / "volumes.csv").exists()
    write_channels(image(2).array, GEOMETRY, folder / "in" / "case2_0000.nii.gz")
    assert predict(folder, "--volumes", "--continue") == 0
    assert {key for key, _ in table(folder)} == {"case0", "case1", "case2"}
    assert predict(folder, "--volumes") == 0  # its own it replaces
    (folder / "out" / "volumes.csv").write_text("mine")
    (folder / "out" / "case0.nii.gz").unlink()
    for flags in ([], ["--continue"]):
        assert predict(folder, "--volumes", *flags) == 2
        assert "volumes.csv is not what `autoseg predict` wrote there" in capsys.readouterr().err
        assert not (folder / "out" / "case0.nii.gz").exists()
    assert (folder / "out" / "volumes.csv").read_text() == "mine"
    assert predict(folder, "--volumes", "--overwrite") == 0
    assert len(table(folder)) == 6


def test_a_case_that_fails_is_not_in_the_table(folder: Path) -> None:
    (folder / "in" / "case1_0000.nii.gz").write_bytes(b"no image")
    assert predict(folder, "--volumes") == 1
    assert {key for key, _ in table(folder)} == {"case0"}


@pytest.mark.parametrize("labels", [EXCLUSIVE, REGIONS, MASKS], ids=lambda labels: labels.KIND)
def test_evaluation_finds_the_names_of_the_labels(small_plan: Plan, labels: Labels, tmp_path: Path, capsys) -> None:
    folder = prepared(small_plan, labels, tmp_path)
    assert predict(folder) == 0
    names = folder / "out" / "dataset.json"
    assert dataset_json.labels_of(dataset_json.read(names), names) == labels
    shutil.copytree(folder / "out", folder / "reference")
    (folder / "reference" / "dataset.json").unlink()
    assert main(["evaluate", str(folder / "reference"), str(folder / "out")]) == 0
    said = capsys.readouterr().out
    assert all(f"\n{name} " in said for name in labels.foreground)


@pytest.mark.slow
def test_somebodys_dataset_json_stays_and_its_own_is_written_once(folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "dataset.json").write_text("mine")
    assert predict(folder) == 0
    assert (folder / "out" / "dataset.json").read_text() == "mine"
    (folder / "out" / "dataset.json").unlink()
    assert predict(folder) == 0
    before = (folder / "out" / "dataset.json").stat().st_mtime_ns
    assert predict(folder) == 0
    assert (folder / "out" / "dataset.json").stat().st_mtime_ns == before
    assert (folder / "out" / "predicted.jsonl").read_text().count("dataset.json") == 2
    edited = json.loads((folder / "out" / "dataset.json").read_text()) | {"labels": {"background": 4, "liver": 7}}
    (folder / "out" / "dataset.json").write_text(json.dumps(edited))
    assert predict(folder) == 0
    assert "liver" in (folder / "out" / "dataset.json").read_text()
