"""CT of some patients and MR of others, of opposite contrast: from the folder to the prediction of unnumbered files."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from example_datasets import EXAMPLES, make
from measured_demo import CARD
from run_settings import SETTINGS

import autoseg
from autoseg.bundle.card import card
from autoseg.bundle.trained import read_trained
from autoseg.cli import main
from autoseg.core.geometry import Geometry
from autoseg.core.missing import MissingChannels
from autoseg.core.records import read_json
from autoseg.errors import ModelError, UsageError
from autoseg.evaluation.scores import Summary
from autoseg.inference.model import Model
from autoseg.inference.predictor import Predictor
from autoseg.parts.inputs import presence
from autoseg.parts.networks import unpaired_unet
from autoseg.pipeline.export_bundle import describe
from autoseg.pipeline.missing import subset_scores
from autoseg.pipeline.plan_file import is_untouched_draft
from autoseg.run_folder import RunFolder
from autoseg.workspace import DatasetFolder, Workspace

pytestmark = pytest.mark.slow

NAME, SHAPE, SPACING = "Dataset001_Unpaired", (12, 26, 24), (2.0, 1.0, 1.0)
HERE = ("--device", "cpu", "--threads", "1", "--precision", "float32")
CASES = {f"case_{number}": "CT" if number % 2 else "MR" for number in range(10)}
ITERATIONS = 120


def anatomy(seed: int, modality: str) -> tuple[np.ndarray, np.ndarray]:
    """A body with an organ that is brighter than it in CT and darker in MR, (z, y, x), and the organ's label map."""
    random = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, size) for size in SHAPE), indexing="ij")
    body = y**2 + x**2 < 0.9
    cz, cy, cx = random.uniform(-0.3, 0.3, 3)
    organ = ((z - cz) / 0.5) ** 2 + ((y - cy) / 0.4) ** 2 + ((x - cx) / 0.4) ** 2 < 1
    if modality == "CT":
        image = np.where(organ, 160, np.where(body, 0, -1000)) + random.normal(0, 20, SHAPE)
    else:
        image = np.where(organ, 150, np.where(body, 500, 0)) + random.gamma(2, 15, SHAPE)
    return np.rint(image), organ.astype(np.uint8)


def write(array: np.ndarray, path: Path) -> Path:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(SPACING[::-1])
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))
    return path


def make_dataset(folder: Path, name: str = "KEY_NUMBER", **described: Any) -> Path:
    for number, (key, modality) in enumerate(CASES.items()):
        image, labels = anatomy(number, modality)
        file = name.replace("KEY", key).replace("NUMBER", f"{('CT', 'MR').index(modality):04d}")
        write(image.astype(np.int16), folder / "imagesTr" / f"{file}.nii.gz")
        write(labels, folder / "labelsTr" / f"{key}.nii.gz")
    told = {"channel_names": {"0": "CT", "1": "MR"}, "labels": {"background": 0, "organ": 1}, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(told | described))
    return folder


def table(path: Path) -> Path:
    path.write_text("case,modality\n" + "".join(f"{key},{modality}\n" for key, modality in CASES.items()))
    return path


def call(workspace: Path, *words: object) -> int:
    return main([*map(str, words), "--workspace", str(workspace)])


def make_small(files: DatasetFolder, iterations: int) -> None:
    """The network that was planned, with few feature maps, and a short training."""
    plan = json.loads(files.plan.read_text())
    for configuration in plan["configurations"].values():
        configuration["network"]["features"] = [8] * len(configuration["network"]["features"])
        configuration["training"] |= {"epochs": 1, "iterations_per_epoch": iterations}
        configuration["batch_size"], configuration["optimizer"] = 2, {"name": "muon"}
    files.plan.write_text(json.dumps(plan))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset whose files' numbers say CT or MR, and a workspace with fold 0 trained on it."""
    folder = tmp_path_factory.mktemp("unpaired")
    raw, workspace = make_dataset(folder / NAME), folder / "workspace"
    folds = ("--stratify", f"{table(folder / 'modalities.csv')}:modality")
    asked = ("--fusion", "unpaired", *CARD, *folds, "-c", "3d_fullres", "--mirror", "none")
    assert call(workspace, "plan_and_preprocess", raw, *asked) == 0
    make_small(files_in(folder), ITERATIONS)
    assert call(workspace, "train", NAME, "0", "-c", "3d_fullres", *HERE) == 0
    return folder


def files_in(folder: Path) -> DatasetFolder:
    return Workspace(folder / "workspace").dataset_folder(NAME)


def run_of(folder: Path) -> RunFolder:
    return files_in(folder).run("3d_fullres", "0")


def model(folder: Path) -> Predictor[Any]:
    return Model.read(run_of(folder).root.parent, settings=SETTINGS)


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def test_the_plan_names_the_network_and_each_case_has_one_channel(trained: Path) -> None:
    configuration = run_of(trained).read_plan().configuration()[1]
    assert isinstance(configuration.network, unpaired_unet.Spec)
    assert configuration.missing == MissingChannels({"CT": 0.0, "MR": 0.0}, exclusive=True)
    assert configuration.inputs == (presence.Spec(),)
    assert [type(part).__module__.rpartition(".")[2] for part in configuration.normalizers] == ["ct", "zscore"]
    assert {case.key: case.absent for case in files_in(trained).read_dataset().cases} == {
        key: (1,) if modality == "CT" else (0,) for key, modality in CASES.items()
    }


def test_scores_hold_each_modality_without_another_prediction(trained: Path) -> None:
    validation = files_in(trained).read_folds().folds[0].validation
    assert sorted(CASES[key] for key in validation) == ["CT", "MR"]
    scores = read_json(run_of(trained).scores, Summary)
    assert {name: {*found.cases} for name, found in scores.subsets.items()} == {CASES[key]: {key} for key in validation}
    for found in scores.subsets.values():
        assert all(scores.cases[key] == of_case for key, of_case in found.cases.items())
    assert not [*run_of(trained).root.glob("validation/without_*")]
    assert subset_scores(model(trained)).keys() == {"CT", "MR"}


def test_unnumbered_images_are_told_by_their_values_and_segmented(
    trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reference = {}
    for seed, modality in ((101, "CT"), (102, "MR")):
        image, reference[modality] = anatomy(seed, modality)
        write(image.astype(np.int16), tmp_path / "in" / f"{modality.lower()}.nii.gz")
        number = ("CT", "MR").index(modality)
        write(image.astype(np.int16), tmp_path / "numbered" / f"{modality.lower()}_{number:04d}.nii.gz")
    with caplog.at_level(logging.INFO, "autoseg"):
        assert call(trained / "workspace", "predict", "-i", tmp_path / "in", "-o", tmp_path / "out", *HERE) == 0
    for modality in ("CT", "MR"):
        assert f"{modality.lower()}: taken as {modality}, since its values" in caplog.text
        assert f"{modality}: cross-validation found a Dice of" in caplog.text
    caplog.clear()
    words = ("predict", "-i", tmp_path / "numbered", "-o", tmp_path / "by_number", *HERE)
    with caplog.at_level(logging.INFO, "autoseg"):
        assert call(trained / "workspace", *words) == 0
    assert "ct: taken as CT, as its file name or --modality says" in caplog.text
    for modality in ("CT", "MR"):
        found, numbered = (
            sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / out / f"{modality.lower()}.nii.gz")))
            for out in ("out", "by_number")
        )
        np.testing.assert_array_equal(found, numbered)
        assert dice(found == 1, reference[modality] == 1) > 0.7, modality


def test_a_person_may_say_it_and_contradictions_are_refused(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    image, _ = anatomy(103, "MR")
    nobody = write((image / 1000).astype(np.float32) - 30, tmp_path / "unlike.nii.gz")
    other = write(image.astype(np.int16), tmp_path / "numbered_0001.nii.gz")
    workspace = trained / "workspace"
    with caplog.at_level(logging.INFO, "autoseg"):
        assert call(workspace, "predict", "-i", nobody, other, "-o", tmp_path / "a", *HERE) == 1
    assert "unlike: prepare failed: is it CT, MR? its values, " in caplog.text and "--modality NAME" in caplog.text
    assert [path.name for path in (tmp_path / "a").glob("*.nii.gz")] == ["numbered.nii.gz"]
    for said in ("MR", "mr", "1"):
        out = tmp_path / f"b_{said}"
        words = ("predict", "-i", nobody, other, "-o", out, "--modality", said, *HERE)
        assert call(workspace, *words) == 0 and len([*out.glob("*.nii.gz")]) == 2
    capsys.readouterr()
    for said, message in (("CT", "case numbered is MR by the number"), ("PET", "there is no channel 'PET'")):
        words = ("predict", "-i", nobody, other, "-o", tmp_path / "c", "--modality", said, *HERE)
        assert call(workspace, *words) == 2
        assert message in " ".join(capsys.readouterr().err.split())
    report = autoseg.predict(model(trained), [nobody], tmp_path / "d", modality="MR")
    assert [path.name for path in report.written] == ["unlike.nii.gz"]
    for wrong in (3, " "):
        with pytest.raises(UsageError, match="modality must be a text"):
            autoseg.predict(model(trained), [nobody], tmp_path / "e", modality=wrong)  # type: ignore[arg-type]


def test_images_in_memory(trained: Path, tmp_path: Path) -> None:
    run, found = model(trained), {}
    for modality in ("CT", "MR"):
        image = anatomy(104, modality)[0].astype(np.float32)
        listed = [image, None] if modality == "CT" else [None, image]
        found[modality] = run.predict(listed, spacing=SPACING)
        np.testing.assert_array_equal(found[modality], run.predict(image, spacing=SPACING))
        path = write(image, tmp_path / f"{modality}.nii.gz")
        np.testing.assert_array_equal(found[modality], run.predict(path).labels)
    both = np.stack([anatomy(104, modality)[0] for modality in ("CT", "MR")])
    with pytest.raises(ModelError, match="the image has CT, MR, but the model takes one of them"):
        run.predict(both, spacing=SPACING)
    with pytest.raises(ModelError, match="is it CT, MR"):
        run.predict(np.zeros(SHAPE, np.float32), spacing=SPACING)


def test_a_bundle_keeps_it_all_and_predicts_the_same(trained: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "unpaired.zip"
    assert call(trained / "workspace", "export", run_of(trained).root.parent, "-o", bundle) == 0
    source, packed = model(trained), Model.read(bundle, settings=SETTINGS)
    assert isinstance(source, Model) and isinstance(packed, Model)
    weights = [dict(each.networks[0].named_parameters()) for each in (source, packed)]
    ct, mr = (weights[0][f"network.encoder.0.0.norm.of.{number}.weight"] for number in (0, 1))
    assert not (ct == mr).all() and all((weights[1][name] == weight).all() for name, weight in weights[0].items())
    for modality in ("CT", "MR"):
        image = anatomy(105, modality)[0].astype(np.float32)
        np.testing.assert_array_equal(*(each.predict(image, spacing=SPACING) for each in (source, packed)))
    assert subset_scores(packed) == subset_scores(source) != {}
    told = card(read_trained(bundle), describe(read_trained(bundle)))
    assert "takes one of    CT, MR" in told and "channels CT: " in told and "channels MR: " in told


def test_what_exports_to_nnunet_refuses_it(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_of(trained).root.parent
    assert call(trained / "workspace", "export", run, "--format", "nnunet", "-o", tmp_path / "theirs") == 2
    assert "no counterpart of 'presence'" in capsys.readouterr().err and not (tmp_path / "theirs").exists()


def test_a_table_says_the_same_as_the_numbers_and_a_draft_is_remembered(
    trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    raw, listed = make_dataset(tmp_path / NAME, "KEY"), table(tmp_path / "modalities.csv")
    workspace = tmp_path / "workspace"
    assert call(workspace, "check", raw) == 2
    assert "--modality-file FILE.csv" in " ".join(capsys.readouterr().out.split())
    with caplog.at_level(logging.INFO, "autoseg"):
        assert call(workspace, "check", raw, "--modality-file", listed) == 0
    assert "each case has one of the channels CT, MR: `--fusion unpaired`" in caplog.text
    assert "lacks" not in capsys.readouterr().out
    plan = autoseg.plan_and_preprocess(
        raw, workspace, fusion="unpaired", modality_file=f"{listed}:modality", configurations=["3d_fullres"]
    )
    files = files_in(tmp_path)
    assert plan.draft and plan.network == "unpaired_unet" and is_untouched_draft(files)
    lacking = [{case.key: case.absent for case in each.read_dataset().cases} for each in (files, files_in(trained))]
    assert lacking[0] == lacking[1]
    one, other = (each.read_fingerprint().intensities for each in (files, files_in(trained)))
    assert one == other, "CT and MR are measured apart"
    before = json.loads(files.plan.read_text())
    for configuration in before["configurations"].values():
        del configuration["missing"]["exclusive"]
    assert not (files.plan.write_text(json.dumps(before)) and is_untouched_draft(files)), "another decision"


def test_a_draft_of_a_dataset_with_gaps_that_knows_nothing_of_modalities_is_still_a_draft(tmp_path: Path) -> None:
    raw, workspace = make_dataset(tmp_path / NAME), tmp_path / "workspace"
    image, _ = anatomy(0, "CT")
    write(image.astype(np.int16), raw / "imagesTr" / "case_0_0000.nii.gz")
    assert call(workspace, "plan_and_preprocess", raw, "-c", "3d_fullres") == 0
    files = files_in(tmp_path)
    before = json.loads(files.plan.read_text())
    for configuration in before["configurations"].values():
        assert configuration["missing"].pop("exclusive") is False
    files.plan.write_text(json.dumps(before))
    assert is_untouched_draft(files)


def test_nothing_is_planned_that_nobody_asked_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    raw, workspace = make_dataset(tmp_path / NAME), tmp_path / "workspace"
    with caplog.at_level(logging.INFO, "autoseg"):
        assert call(workspace, "plan_and_preprocess", raw, "--planner", "tiny", "-c", "3d_fullres") == 0
    plan = files_in(tmp_path).read_plan()
    assert plan.fusion is None and not plan.task().exclusive
    assert "`--fusion unpaired`, for plan and plan_and_preprocess, trains them" in caplog.text
    assert any("--fusion unpaired" in reason for reason in plan.reasons)
    with pytest.raises(UsageError, match="this model takes CT, MR of each case"):
        autoseg.predict(small_model(plan), raw / "imagesTr", tmp_path / "out", modality="CT")


def small_model(plan: Any) -> Model:
    return Model(plan.task(), (plan.task().network().eval(),), ("0",), SETTINGS)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--fusion", "unpaired", "--groups", "CT;MR"), "takes no groups"),
        (("--fusion", "unpaired", "--planner", "tiny"), "planner tiny plans its own networks only"),
        (("--fusion", "unpaired", "--network", "plain_unet"), "give --fusion or --network"),
        (("--modality-file", "nowhere.csv"), "nowhere.csv cannot be read"),
        (("--fusion", "unpaired", "--modality-file", "MODALITIES"), "there is no channel 'US'"),
    ],
)
def test_what_cannot_be_is_refused(
    tmp_path: Path, words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = make_dataset(tmp_path / NAME)
    wrong = table(tmp_path / "modalities.csv")
    wrong.write_text(wrong.read_text().replace("case_3,CT", "case_3,US"))
    words = tuple(str(wrong) if word == "MODALITIES" else word for word in words)
    assert call(tmp_path / "workspace", "plan_and_preprocess", raw, *words) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_cases_with_both_are_refused_when_planning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = make_dataset(tmp_path / NAME)
    shutil.copy(raw / "imagesTr" / "case_1_0000.nii.gz", raw / "imagesTr" / "case_2_0000.nii.gz")
    assert call(tmp_path / "workspace", "plan_and_preprocess", raw, "--fusion", "unpaired") == 2
    assert "--fusion unpaired: case case_2 has CT + MR" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("flat", [False, True], ids=["3d", "2d"])
def test_the_example_trains_and_predicts(tmp_path: Path, flat: bool) -> None:
    raw, name = tmp_path / "Dataset002_Example", "2d" if flat else "3d_fullres"
    raw.mkdir()
    dataset = make(EXAMPLES / "unpaired_ct_mr.json", raw, Geometry.plain((8, 20, 24), (2.5, 1.0, 1.0)))
    workspace = tmp_path / "workspace"
    assert call(workspace, "plan_and_preprocess", raw, "--fusion", "unpaired", *CARD, "-c", name) == 0
    files = Workspace(workspace).dataset_folder(raw.name)
    make_small(files, 2)
    assert call(workspace, "train", raw.name, "0", "-c", name, *HERE) == 0
    run = Model.read(files.runs(name), settings=SETTINGS)
    for case in dataset.cases:
        listed = [None if source is None else source.file for source in case.images]
        assert run.predict(listed).labels.shape == (8, 20, 24)
