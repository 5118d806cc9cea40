"""Planning as a user asks for it: with changes and wishes, from the command line to what is trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import SimpleITK as sitk

from autoseg.cli import main
from autoseg.pipeline.demo import NAME, make_dataset


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three cases, planned with ``tiny`` and prepared for 3d_fullres."""
    folder = tmp_path_factory.mktemp("planned")
    raw = make_dataset(folder / NAME, cases=3, tests=0)
    words = ["plan_and_preprocess", str(raw), "--planner", "tiny", "-c", "3d_fullres"]
    assert main([*words, "--workspace", str(folder / "workspace")]) == 0
    return folder / "workspace"


def planned(workspace: Path, *words: str) -> dict[str, Any]:
    assert main(["plan", NAME, "--planner", "tiny", *words, "--workspace", str(workspace)]) == 0
    found: dict[str, Any] = json.loads((workspace / NAME / "plan.json").read_text())
    return found


@pytest.mark.slow
def test_a_change_is_planned(workspace: Path) -> None:
    before = planned(workspace)["configurations"]
    after = planned(workspace, "--set", "2d.batch_size=3", "--set", "training.epochs=7")["configurations"]
    assert after["2d"]["batch_size"] == 3
    assert after["3d_fullres"]["batch_size"] == before["3d_fullres"]["batch_size"]
    assert [configuration["training"]["epochs"] for configuration in after.values()] == [7, 7]


def test_a_change_that_does_not_fit_leaves_the_plan_as_it_was(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = planned(workspace)
    words = ["plan", NAME, "--planner", "tiny", "--set", "3d_fullres.patch_size=15,48,48"]
    assert main([*words, "--workspace", str(workspace)]) == 2
    assert "3d_fullres: patch_size 15,48,48 must be a multiple of" in capsys.readouterr().err
    assert json.loads((workspace / NAME / "plan.json").read_text()) == before


def test_a_wished_spacing_comes_before_patch_and_network(workspace: Path) -> None:
    before = planned(workspace)["configurations"]["3d_fullres"]
    plan = planned(workspace, "--spacing", "1,1,4")
    after = plan["configurations"]["3d_fullres"]
    assert before["spacing"] == pytest.approx([3, 1, 1])
    assert after["spacing"] == [4, 1, 1]
    assert plan["axis_order"] == [2, 0, 1]  # the wish is in the file's axes, the plan in the network's
    assert after["median_shape"] != before["median_shape"]
    assert after["patch_size"] != before["patch_size"]
    assert after["network"]["strides"][1] == [1, 2, 2]


@pytest.mark.parametrize("spacing", ["1,1", "a,b,c", "1"])
def test_what_is_no_spacing_is_refused(workspace: Path, spacing: str) -> None:
    with pytest.raises(SystemExit):
        main(["plan", NAME, "--spacing", spacing, "--workspace", str(workspace)])


@pytest.mark.parametrize("spacing", ["0,1,1", "inf,1,1", "nan,1,1"])
def test_an_impossible_spacing_is_refused(workspace: Path, spacing: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", NAME, "--spacing", spacing, "--workspace", str(workspace)]) == 2
    assert "above 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "axes"),
    [
        (["--mirror", "none"], []),
        (["--mirror", "z,x"], [0, 2]),
        (["--mirror", "yx", "--spacing", "1,1,4"], [0, 2]),  # x of the files is the network's first axis, y its last
    ],
)
def test_mirroring_is_wished_in_the_files_axes_and_planned_in_the_networks(
    workspace: Path, words: list[str], axes: list[int]
) -> None:
    assert planned(workspace, *words)["mirror_axes"] == axes


@pytest.mark.parametrize("text", ["", "w", "zz", "0"])
def test_what_names_no_axes_is_refused(workspace: Path, text: str) -> None:
    with pytest.raises(SystemExit):
        main(["plan", NAME, "--mirror", text, "--workspace", str(workspace)])


@pytest.mark.slow
def test_sides_are_told_apart_by_name_along_the_patients_left_right(tmp_path: Path) -> None:
    """The files' z runs along the patient's left-right: it is not mirrored, whatever order the network has them in."""
    folder = make_dataset(tmp_path / "raw" / NAME, cases=2, tests=0)
    description = json.loads((folder / "dataset.json").read_text())
    description["labels"] = {"background": 0, "lobe_left": 1, "lobe_right": 2}
    (folder / "dataset.json").write_text(json.dumps(description))
    for path in folder.glob("*Tr/*.nii.gz"):
        image = sitk.ReadImage(str(path))
        image.SetDirection((0, 0, 1, 1, 0, 0, 0, 1, 0))
        sitk.WriteImage(image, str(path))
    assert main(["fingerprint", str(folder), "--workspace", str(tmp_path)]) == 0
    plan = planned(tmp_path, "--planner", "plain_unet")
    assert [plan["axis_order"][axis] for axis in plan["mirror_axes"]] == [1, 2]
    assert any("not along the third axis (z): lobe_left and lobe_right" in reason for reason in plan["reasons"])


def test_an_explanation_is_printed_and_the_plan_written(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    planned(workspace, "--set", "batch_size=2")
    capsys.readouterr()
    plan = planned(workspace, "--explain", "--set", "batch_size=3")
    said = " ".join(capsys.readouterr().out.split())
    assert plan["configurations"]["3d_fullres"]["batch_size"] == 3
    assert "by hand batch_size = 3" in said
    assert "spacing 3 x 1 x 1 mm: the median of 3 cases" in said


def test_a_comparison_writes_nothing(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in (workspace / NAME).glob("*")}
    assert main(["plan", NAME, "--compare", "tiny", "plain_unet", "--workspace", str(workspace)]) == 0
    assert {path: path.stat().st_mtime_ns for path in (workspace / NAME).glob("*")} == before
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["tiny", "plain_unet"]
    assert any(row.startswith("* patch_size") for row in rows)


@pytest.mark.slow
def test_a_change_in_training_is_trained_and_written_down(workspace: Path) -> None:
    planned(workspace)
    changes = ["--set", "training.iterations_per_epoch=1", "--set", "batch_size=1", "--set", "optimizer.momentum=0.5"]
    words = ["train", NAME, "0", "--epochs", "1", *changes, "--workspace", str(workspace), "--device", "cpu"]
    assert main(words) == 0
    run = json.loads((workspace / NAME / "runs" / "3d_fullres" / "fold_0" / "plan.json").read_text())
    effective = run["configurations"]["3d_fullres"]
    assert list(run["configurations"]) == ["3d_fullres"]
    assert (effective["batch_size"], effective["optimizer"]["momentum"]) == (1, 0.5)
    assert effective["training"]["iterations_per_epoch"] == 1
    shared = json.loads((workspace / NAME / "plan.json").read_text())
    assert shared["configurations"]["3d_fullres"]["batch_size"] == 2


def test_a_change_that_comes_too_late_for_training_says_where_it_belongs(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planned(workspace)
    assert main(["train", NAME, "1", "--set", "spacing=3,2,2", "--workspace", str(workspace)]) == 2
    assert f"autoseg plan {NAME} --set spacing=3,2,2" in capsys.readouterr().err


@pytest.mark.slow
def test_cases_that_are_trained_on_are_not_prepared_otherwise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from autoseg.run_folder import RunFolder
    from autoseg.run_status import held

    raw, at = make_dataset(tmp_path / NAME, cases=2, tests=0), ["--workspace", str(tmp_path / "ws")]
    plan = ["plan_and_preprocess", str(raw), "--planner", "tiny", "-c", "2d", *at]
    assert main(plan) == 0
    with held(RunFolder(tmp_path / "ws" / NAME / "runs" / "2d" / "fold_0")):
        assert main(plan) == 0, "nothing changes"
        assert main([*plan, "--spacing", "3,2,2"]) == 2
        assert "is being trained on them" in capsys.readouterr().err
    assert main([*plan, "--spacing", "3,2,2"]) == 0


@pytest.mark.parametrize("flags", [[], ["--format", "nnunet"]])
def test_a_file_that_is_there_is_never_replaced_by_a_plan(
    workspace: Path, tmp_path: Path, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.json").write_text("mine")
    words = ["plan", NAME, "--planner", "tiny", "--workspace", str(workspace), *flags, "-o"]
    assert main([*words, str(tmp_path / "mine.json")]) == 2
    assert "mine.json exists already" in capsys.readouterr().err
    assert (tmp_path / "mine.json").read_text() == "mine"
    assert main([*words, str(tmp_path / "new.json")]) == 0
