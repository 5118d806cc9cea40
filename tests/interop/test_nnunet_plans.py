"""nnU-Net's planning files are read as it reads them and written as it writes them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from autoseg.planners import cpu, plain_unet, residual_m

from autoseg.cli import main
from autoseg.errors import DatasetError, RecordError
from autoseg.interop.nnunet_plans import nnunet_plans, read_fingerprint

# made by benchmarks/oracle_plans.py with nnU-Net v2 2.8.1
STORED = json.loads(gzip.decompress((Path(__file__).parents[1] / "planners" / "nnunet_plans.json.gz").read_bytes()))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder as nnU-Net leaves it after its fingerprint."""
    return write_files(tmp_path / "Dataset001_Random", STORED[0])


def write_files(folder: Path, entry: dict[str, Any]) -> Path:
    folder.mkdir()
    (folder / "dataset_fingerprint.json").write_text(json.dumps(entry["fingerprint"]))
    (folder / "dataset.json").write_text(json.dumps(entry["dataset"]))
    return folder


def test_the_command_writes_the_plans_file_that_nnunet_writes(files: Path, tmp_path: Path) -> None:
    written = tmp_path / "plan.json"
    given = [
        "--from-fingerprint",
        str(files / "dataset_fingerprint.json"),
        "--dataset-json",
        str(files / "dataset.json"),
    ]
    assert main(["plan", *given, "--planner", "residual_m", "--format", "nnunet", "-o", str(written)]) == 0
    assert json.loads(written.read_text()) == STORED[0]["plans"]["nnUNetPlannerResEncM"]


def test_the_command_prints_our_plan_without_further_flags(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--from-fingerprint", str(files / "dataset_fingerprint.json")]) == 0
    assert json.loads(capsys.readouterr().out)["planner"] == "plain_unet"


def test_a_dataset_or_a_fingerprint_but_not_both(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan"]) == 2
    assert main(["plan", "Hippocampus", "--from-fingerprint", str(files / "dataset_fingerprint.json")]) == 2
    assert capsys.readouterr().err.count("either a DATASET or --from-fingerprint") == 2


def test_a_planner_that_nnunet_has_not_signs_its_plans_with_its_own_name(files: Path) -> None:
    dataset, measured = read_fingerprint(files / "dataset_fingerprint.json", files / "dataset.json")
    written = nnunet_plans(cpu.PLANNER.plan(dataset, measured), measured)
    assert written["experiment_planner_used"] == written["plans_name"] == "autoseg_cpu"
    assert written["configurations"]["2d"]["data_identifier"] == "autoseg_cpu_2d"


def test_the_plain_and_the_residual_planner_share_prepared_images_as_in_nnunet(files: Path) -> None:
    dataset, measured = read_fingerprint(files / "dataset_fingerprint.json", files / "dataset.json")
    for planner in (plain_unet.PLANNER, residual_m.PLANNER):
        written = nnunet_plans(planner.plan(dataset, measured), measured)
        assert written["configurations"]["2d"]["data_identifier"] == "nnUNetPlans_2d"


@pytest.mark.parametrize(
    ("ending", "reader"),
    [(".tif", "Tiff3DIO"), (".nii", "NibabelIO"), (".mha", "SimpleITKIO"), (".nii.gz", "SimpleITKIO")],
)
def test_the_ending_chooses_the_reader_that_nnunet_takes(files: Path, ending: str, reader: str) -> None:
    (files / "dataset.json").write_text(json.dumps(STORED[0]["dataset"] | {"file_ending": ending}))
    dataset, measured = read_fingerprint(files / "dataset_fingerprint.json", files / "dataset.json")
    assert nnunet_plans(plain_unet.PLANNER.plan(dataset, measured), measured)["image_reader_writer"] == reader


def test_another_number_of_cases_than_announced_is_said(files: Path, caplog: pytest.LogCaptureFixture) -> None:
    (files / "dataset.json").write_text(json.dumps(STORED[0]["dataset"] | {"numTraining": 77}))
    read_fingerprint(files / "dataset_fingerprint.json", files / "dataset.json")
    assert "numTraining is 77" in caplog.text


def test_a_field_that_is_missing_is_named(files: Path) -> None:
    path = files / "dataset_fingerprint.json"
    path.write_text(json.dumps({name: value for name, value in STORED[0]["fingerprint"].items() if name != "spacings"}))
    with pytest.raises(RecordError, match=r"dataset_fingerprint.json.*spacings"):
        read_fingerprint(path, files / "dataset.json")


def test_files_of_two_datasets_are_noticed(files: Path) -> None:
    described = STORED[0]["dataset"] | {"channel_names": {str(number): "T1" for number in range(9)}}
    (files / "dataset.json").write_text(json.dumps(described))
    with pytest.raises(RecordError, match="names 9; are the two files of the same dataset"):
        read_fingerprint(files / "dataset_fingerprint.json", files / "dataset.json")


def test_a_missing_dataset_json_is_named(files: Path) -> None:
    (files / "dataset.json").unlink()
    with pytest.raises(DatasetError, match=r"dataset\.json"):
        read_fingerprint(files / "dataset_fingerprint.json", files / "dataset.json")
