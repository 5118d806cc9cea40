"""A dataset is planned, prepared and trained with nnU-Net's plans and splits, from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autoseg.cli import main
from autoseg.pipeline.demo import NAME, make_dataset


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("raw") / NAME, cases=4, tests=0)


@pytest.fixture(scope="module")
def plans(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """nnUNetPlans.json for the demo's dataset with two custom configurations."""
    folder = tmp_path_factory.mktemp("plans")
    words = ["--workspace", str(folder / "workspace")]
    assert main(["fingerprint", str(raw), *words]) == 0
    path = folder / "nnUNetPlans.json"
    assert main(["plan", str(raw), "--planner", "tiny", "--format", "nnunet", "-o", str(path), *words]) == 0
    content = json.loads(path.read_text())
    content["configurations"] |= {
        "coarse": {"inherits_from": "3d_fullres", "spacing": [4.0, 2.0, 2.0], "batch_size": 3},
        "unknown": {"inherits_from": "3d_fullres", "resampling_fn_data": "my_resampling"},
    }
    path.write_text(json.dumps(content))
    return path


@pytest.mark.slow
def test_the_plan_is_nnunets_and_trains(raw: Path, plans: Path, tmp_path: Path, caplog: Any) -> None:
    words = ["--workspace", str(tmp_path), "--threads", "1"]
    assert main(["plan_and_preprocess", str(raw), "--from", str(plans), "-c", "coarse", *words]) == 0
    assert "unknown" in caplog.text
    assert "my_resampling" in caplog.text
    plan = json.loads((tmp_path / NAME / "plan.json").read_text())
    theirs = json.loads(plans.read_text())["configurations"]
    coarse = plan["configurations"]["coarse"]
    assert (coarse["spacing"], coarse["batch_size"]) == ([4.0, 2.0, 2.0], 3)
    assert coarse["patch_size"] == theirs["3d_fullres"]["patch_size"]
    assert coarse["network"]["features"] == theirs["3d_fullres"]["architecture"]["arch_kwargs"]["features_per_stage"]
    assert plan["mirror_axes"] == [0, 1, 2]
    few = ["--epochs", "1", "--set", "training.iterations_per_epoch=1"]
    assert main(["train", str(raw), "all", "-c", "coarse", *few, *words]) == 0
    assert (tmp_path / NAME / "runs" / "coarse" / "fold_all" / "weights.safetensors").is_file()


@pytest.mark.slow
def test_wishes_that_a_finished_plan_cannot_grant_are_refused(
    raw: Path, plans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--workspace", str(tmp_path)]
    assert main(["fingerprint", str(raw), *words]) == 0
    assert main(["plan", str(raw), "--from", str(plans), "--spacing", "2,1,1", *words]) == 2
    assert "--spacing and --slices are for planners" in capsys.readouterr().err
    assert main(["plan", str(raw), "--from", str(plans), "--mirror", "y", *words]) == 0
    assert json.loads((tmp_path / NAME / "plan.json").read_text())["mirror_axes"] == [1]


@pytest.mark.slow
def test_plans_for_other_channels_are_refused(
    raw: Path, plans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--workspace", str(tmp_path)]
    assert main(["fingerprint", str(raw), *words]) == 0
    content = json.loads(plans.read_text())
    del content["foreground_intensity_properties_per_channel"]["1"]
    (tmp_path / "one.json").write_text(json.dumps(content))
    assert main(["plan", str(raw), "--from", str(tmp_path / "one.json"), *words]) == 2
    assert "is for 1 channels, Dataset999_Demo has 2: T1, T2" in capsys.readouterr().err


@pytest.mark.slow
def test_splits_beside_the_images_are_the_folds(raw: Path, tmp_path: Path, caplog: Any) -> None:
    words = ["--workspace", str(tmp_path), "--planner", "tiny"]
    assert main(["fingerprint", str(raw), *words[:2]]) == 0
    keys = [f"demo_{number:03d}" for number in range(4)]
    splits = raw / "splits_final.json"
    splits.write_text(json.dumps([{"train": keys[:1], "val": keys[1:3]}, {"train": keys[1:], "val": keys[:1]}]))
    try:
        assert main(["plan", str(raw), *words]) == 0
        assert f"the 2 folds are those of {splits}" in caplog.text
        folds = json.loads((tmp_path / NAME / "folds.json").read_text())["folds"]
        assert folds == [{"train": keys[:1], "validation": keys[1:3]}, {"train": keys[1:], "validation": keys[:1]}]
        assert main(["plan", str(raw), "--group", r"\d+", *words]) == 0
        assert "is not used, since --group" in caplog.text
        assert len(json.loads((tmp_path / NAME / "folds.json").read_text())["folds"]) == 4
    finally:
        splits.unlink()


@pytest.mark.slow
def test_splits_beside_the_plans_are_the_folds_where_the_images_have_none(
    raw: Path, plans: Path, tmp_path: Path, caplog: Any
) -> None:
    """nnU-Net keeps both in its folder of preprocessed data."""
    words = ["--workspace", str(tmp_path), "--from", str(tmp_path / "nnUNetPlans.json")]
    assert main(["fingerprint", str(raw), *words[:2]]) == 0
    (tmp_path / "nnUNetPlans.json").write_bytes(plans.read_bytes())
    keys, splits = [f"demo_{number:03d}" for number in range(4)], tmp_path / "splits_final.json"
    splits.write_text(json.dumps([{"train": keys[:2], "val": keys[2:]}]))
    assert main(["plan", str(raw), *words]) == 0
    assert f"the 1 folds are those of {splits}" in caplog.text
    folds = json.loads((tmp_path / NAME / "folds.json").read_text())["folds"]
    assert folds == [{"train": keys[:2], "validation": keys[2:]}]
    splits.write_text(json.dumps([{"train": ["somebody_else"], "val": ["and_another"]}]))
    assert main(["plan", str(raw), *words]) == 0
    assert "these plans may be another dataset's" in caplog.text
    validated = [
        key for fold in json.loads((tmp_path / NAME / "folds.json").read_text())["folds"] for key in fold["validation"]
    ]
    assert sorted(validated) == keys
