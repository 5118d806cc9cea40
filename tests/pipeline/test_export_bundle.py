"""A model packed here predicts the same elsewhere, and says what it is."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from safetensors.torch import save_file

from autoseg.bundle.bundle import read_bundle
from autoseg.bundle.card import card
from autoseg.bundle.trained import TrainedRuns, read_trained
from autoseg.cli import main
from autoseg.core.geometry import Geometry
from autoseg.core.inputs import InputSpec
from autoseg.core.records import read_json, write_json
from autoseg.data.dataset import Case, Dataset
from autoseg.errors import ModelError, UsageError, WorkspaceError
from autoseg.evaluation.scores import Summary, score_case, summarise, write_scores
from autoseg.model_names import find_model
from autoseg.pipeline.export_bundle import describe, export_bundle
from autoseg.run_folder import RunFolder
from autoseg.workspace import DatasetFolder, Workspace

NAME = "Dataset900_Small"


@pytest.fixture
def trained(small_plan, tmp_path) -> DatasetFolder:
    """A workspace as two finished, validated folds leave it."""
    files = Workspace(tmp_path / "workspace").dataset_folder(NAME)
    cases = tuple(Case.of_files(f"case_{n}", ("a",), "b") for n in range(4))
    dataset = Dataset(NAME, "x", ("MR",), small_plan.labels, cases, ".nii.gz", "nnunet", "CC BY 4.0", "Doe 2026")
    write_json(files.dataset, dataset)
    random = np.random.default_rng(0)
    for fold in ("0", "1"):
        run = files.run(small_plan.default, fold)
        write_json(run.effective, small_plan)
        torch.manual_seed(int(fold))
        network = small_plan.configuration()[1].network.build(InputSpec.of_image(1), 2)
        save_file(network.state_dict(), run.weights)
        scores = {}
        for case in cases[int(fold) :: 2]:
            maps = [7 * random.integers(0, 2, (4, 5, 6)) for _ in range(2)]
            scores[case.key] = score_case(*maps, small_plan.labels, Geometry.plain((4, 5, 6), (1.0,) * 3))
        write_scores(run.validation, summarise(scores))
    return files


def test_an_exported_model_predicts_the_same_where_it_is_installed(trained, tmp_path, capsys):
    array = np.random.default_rng(1).normal(size=(9, 12, 11)).astype(np.float32)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / "scan.nii.gz"))

    def command(*words: str | Path, workspace: Path) -> str:
        assert main([*map(str, words), "--workspace", str(workspace)]) == 0
        return capsys.readouterr().out

    home, away = trained.root.parent, tmp_path / "away"
    packed = tmp_path / "model.zip"
    said = command("export", NAME, "-o", packed, "--citation", "Roe 2027", workspace=home)
    digest = said.split("sha256 ")[1].split()[0]
    said = command("install", packed, "--sha256", digest, workspace=away)
    assert "Roe 2027" in said and "CC BY 4.0" in said and f"predict -m {NAME}" in said
    assert command("info", NAME, workspace=away).splitlines()[2:] == said.splitlines()[2:-2]
    scan = ("-i", tmp_path / "scan.nii.gz", "--device", "cpu", "--precision", "float32")
    command("predict", "-d", NAME, *scan, "-o", tmp_path / "a", workspace=home)
    command("predict", "-m", NAME, *scan, "-o", tmp_path / "b", workspace=away)
    command("predict", "-m", packed, *scan, "-o", tmp_path / "c", workspace=tmp_path / "nowhere")
    first, *others = (sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / n / "scan.nii.gz")) for n in "abc")
    assert len(np.unique(first)) == 2
    for other in others:
        np.testing.assert_array_equal(other, first)


def test_a_bundle_carries_the_scores_of_all_validation_cases(trained, tmp_path):
    _, manifest = export_bundle(trained.runs("3d_fullres"), tmp_path / "model")
    assert manifest.scores is not None and manifest.scores.folds == ("0", "1")
    dice = [
        row["organ"]["dice"]
        for fold in ("0", "1")
        for row in json.loads(trained.run("3d_fullres", fold).scores.read_text())["cases"].values()
    ]
    assert manifest.scores.overall["dice"].cases == 4
    assert manifest.scores.overall["dice"].mean == pytest.approx(np.mean(dice))
    assert read_bundle(tmp_path / "model").manifest.scores == manifest.scores


@pytest.mark.parametrize("together", ["0", "1"])
def test_scores_of_folds_together_resample_the_patients_that_they_name(trained, together):
    """Both cases of one fold are a patient's, those of the other are each their own: three patients."""
    means = []
    for fold in ("0", "1"):
        run = trained.run("3d_fullres", fold)
        before = read_json(run.scores, Summary)
        if fold == together:
            write_scores(run.validation, replace(before, patients=dict.fromkeys(before.cases, "patient")))
        alone = [row["organ"]["dice"] for row in before.cases.values()]
        means += [before.dice] if fold == together else alone
    by_patient = describe(read_trained(trained.runs("3d_fullres"))).scores.overall["dice"]
    assert by_patient.cases == 4
    assert (by_patient.low, by_patient.high) == pytest.approx((min(means), max(means)))  # one of them, three times


def test_one_fold_of_a_bundle_makes_a_bundle(trained, tmp_path):
    export_bundle(trained.runs("3d_fullres"), tmp_path / "both.zip")
    export_bundle(tmp_path / "both.zip", tmp_path / "one.zip", folds=["1"])
    one = read_bundle(tmp_path / "one.zip")
    one.verify()
    assert one.manifest.configurations == {"3d_fullres": ("1",)} and one.manifest.scores is None


def test_a_damaged_bundle_is_not_exported_again(trained, tmp_path):
    export_bundle(trained.runs("3d_fullres"), tmp_path / "model")
    weights = tmp_path / "model" / "3d_fullres" / "fold_0.safetensors"
    content = weights.read_bytes()
    weights.unlink()  # it is a link to the fold's own file
    weights.write_bytes(content[:-1] + b"x")
    with pytest.raises(ModelError, match="wrong checksum"):
        export_bundle(tmp_path / "model", tmp_path / "again.zip")
    assert not (tmp_path / "again.zip").exists()


def test_texts_of_a_stranger_cannot_steer_the_terminal(trained):
    runs = read_trained(trained.runs("3d_fullres"))
    assert "\x1b" not in card(runs, replace(describe(runs), licence="\x1b[2J\x1b[1;1Hfree\r\nfor all"))


def test_a_model_is_found_by_path_by_name_and_by_dataset(trained, tmp_path):
    workspace = Workspace(trained.root.parent)
    runs = trained.runs("3d_fullres")
    assert find_model(str(runs), workspace) == find_model(NAME, workspace) == find_model("900", workspace) == runs
    assert find_model(str(runs / "fold_1"), workspace) == runs / "fold_1"
    (workspace.models / "Lungs").mkdir(parents=True)
    assert find_model("Lungs", workspace) == workspace.models / "Lungs"
    with pytest.raises(UsageError, match="Installed there: Lungs"):
        find_model("Kidneys", workspace)


def test_what_was_selected_counts_until_something_newer_is_trained(trained):
    workspace = Workspace(trained.root.parent)
    export_bundle(trained.runs("3d_fullres"), trained.selected)
    assert find_model(NAME, workspace) == trained.selected
    assert find_model(NAME, workspace, "3d_fullres") == trained.runs("3d_fullres")
    weights = trained.run("3d_fullres", "1").weights
    weights.write_bytes(weights.read_bytes())
    later = (trained.selected / "model.json").stat().st_mtime + 1
    os.utime(weights, (later, later))
    assert find_model(NAME, workspace) == trained.runs("3d_fullres")
    with pytest.raises(WorkspaceError, match="no trained model"):
        find_model(NAME, workspace, "2d")


@pytest.mark.parametrize("target", ["model.zip", "model"])
def test_a_full_disk_leaves_no_half_model(trained, tmp_path, capsys, monkeypatch, target):
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    monkeypatch.setattr("os.link", full)
    monkeypatch.setattr("shutil.copyfile", full)
    words = ["export", NAME, "-o", str(tmp_path / "out" / target), "--workspace", str(trained.root.parent)]
    assert main(words) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert not list((tmp_path / "out").iterdir())


def test_what_is_no_text_does_not_go_into_a_model(trained, tmp_path, capsys):
    words = ["export", NAME, "-o", str(tmp_path / "model.zip"), "--workspace", str(trained.root.parent)]
    assert main([*words, "--licence", "CC \udcff"]) == 2
    assert "no Unicode" in capsys.readouterr().err
    assert not (tmp_path / "model.zip").exists()


@pytest.mark.parametrize("taken", ["file", "folder", "link", "below a file"])
def test_an_export_replaces_nothing(trained, tmp_path, capsys, taken):
    target = tmp_path / "out"
    if taken == "folder":
        (target / "mine").mkdir(parents=True)
    elif taken == "link":
        target.symlink_to(tmp_path / "nowhere")
    else:
        target.write_text("mine")
    words = ["export", NAME, "-o", str(target / "model" if taken == "below a file" else target)]
    assert main([*words, "--workspace", str(trained.root.parent)]) == 2
    assert "exists already" in (said := capsys.readouterr().err) or "a file lies where a folder is needed" in said
    assert target.is_symlink() or (target / "mine").is_dir() or target.read_text() == "mine"


@pytest.mark.parametrize(("dataset", "name"), [("con é", "model_con"), ("データ", "model"), ("Data set", "Data_set")])
def test_any_dataset_gives_a_model_a_name(small_plan, dataset, name):
    plan = replace(small_plan, dataset=dataset)
    assert TrainedRuns(Path("runs"), plan, {plan.default: {"0": RunFolder(Path("run"))}}).manifest.name == name
