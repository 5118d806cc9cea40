"""Fusion in the middle and at the decision, from the flag to a prediction from a bundle."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from measured_demo import CARD, HERE, call, measured_in, plan_of
from safetensors.torch import save

import autoseg
from autoseg.bundle.manifest import Manifest
from autoseg.bundle.write import write_bundle
from autoseg.cli import main
from autoseg.core.fusion import METHODS
from autoseg.core.geometry import Geometry, Image
from autoseg.data.images import read_case
from autoseg.data.layouts import find_images
from autoseg.errors import UsageError
from autoseg.inference.model import Model
from autoseg.inference.networks import CHANNELS_LAST
from autoseg.parts.networks import multi_encoder_unet
from autoseg.parts.readers import read_labels
from autoseg.pipeline.demo import NAME, make_dataset
from autoseg.pipeline.plan_file import is_untouched_draft
from autoseg.plan import Plan
from autoseg.preprocessing.inputs import with_inputs
from autoseg.preprocessing.priors import PriorStore
from autoseg.preprocessing.store import CaseStore
from autoseg.settings import RunSettings
from autoseg.training.batches import training_sampler
from autoseg.workspace import DatasetFolder, Workspace

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two modalities, T1 and T2."""
    return make_dataset(tmp_path_factory.mktemp("raw") / NAME, cases=5, tests=1)


@pytest.fixture(scope="module")
def files(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> DatasetFolder:
    """A workspace in which the images are measured, and nothing is planned."""
    return measured_in(tmp_path_factory.mktemp("measured"), raw)


def test_a_draft_is_measured_where_it_trains_and_its_bundle_predicts_bit_for_bit(raw: Path, tmp_path: Path) -> None:
    files = Workspace(tmp_path / "workspace").dataset_folder(NAME)
    asked = ("--fusion", "middle:attention", "--groups", "t2;T1")
    assert call(files, "plan_and_preprocess", str(raw), *asked, "-c", "3d_fullres") == 0
    draft = plan_of(files)
    assert draft["draft"] and draft["network"] == "multi_encoder_unet"
    assert draft["fusion"] == {"level": "middle", "method": "attention", "groups": [["t2"], ["T1"]]}
    assert is_untouched_draft(files)
    assert call(files, "train", NAME, "0", "-c", "3d_fullres", "--time", "1s", *HERE) == 0
    plan = plan_of(files)
    assert (plan["draft"], plan["fusion"]) == (False, draft["fusion"])
    for configuration in plan["configurations"].values():
        assert configuration["cost"]["timed"]
        network = configuration["network"]
        assert (network["fusion"], network["groups"]) == ("attention", [[1], [0]])
    bundle, predicted = tmp_path / "model.zip", []
    assert call(files, "export", NAME, "-o", str(bundle), "-f", "0") == 0
    for model in (files.runs("3d_fullres"), bundle):
        out = tmp_path / f"from_{model.name}"
        words = ("-i", str(raw / "imagesTs"), "-o", str(out), "-m", str(model), "--probabilities", "float32")
        assert call(files, "predict", *words, *HERE, "--tta", "none") == 0
        written = [*out.glob("*.nii.gz"), *(out / "probabilities").glob("*.nii.gz")]
        predicted.append([sitk.GetArrayFromImage(sitk.ReadImage(str(path))) for path in written])
    assert len(predicted[0]) == 2
    for one, other in zip(*predicted):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("patch", [(8, 8, 8), (8, 8)], ids=["3d", "2d"])
def test_a_bundle_predicts_what_its_network_predicts(
    small_plan: Plan, tmp_path: Path, method: str, patch: tuple[int, ...]
) -> None:
    axes = len(patch)
    network = multi_encoder_unet.Spec(
        (4, 8), ((3,) * axes,) * 2, ((1,) * axes, (2,) * axes), (1, 1), (1,), fusion=method, groups=((0, 2), (1,))
    )
    one = small_plan.configurations["3d_fullres"]
    spacing = (2.0, 2.0, 2.0) if axes == 3 else (None, 2.0, 2.0)
    one = replace(one, network=network, patch_size=patch, spacing=spacing, normalizers=one.normalizers * 3)
    plan = replace(small_plan, channels=("T1", "T2", "PD"), configurations={"it": one}, default="it")
    torch.manual_seed(0)
    built = plan.task().network().eval()
    target = tmp_path / "model.zip"
    write_bundle(target, Manifest("Small", {"it": ("0",)}, {"it": 1.0}), plan, {"it": {"0": save(built.state_dict())}})
    for parameter in built.parameters():  # as prediction lays them out: otherwise they are summed in another order
        if layout := CHANNELS_LAST.get(parameter.dim()):
            parameter.data = parameter.data.contiguous(memory_format=layout)
    settings = RunSettings(device="cpu", precision="float32", threads=1)
    array = np.random.default_rng(0).normal(size=(3, 9, 11, 10)).astype(np.float32)
    image = Image(array, Geometry.plain((9, 11, 10), (2.0,) * 3))
    found, original = Model.read(target, settings=settings), Model(plan.task(), (built,), ("0",), settings)
    logits = [model.logits(model.prepare(image)) for model in (found, original)]
    assert torch.equal(*logits) and logits[0].std() > 0
    np.testing.assert_array_equal(found.segment(image).labels, original.segment(image).labels)


def test_the_explanation_says_what_each_encoder_sees(files: DatasetFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(files, "plan", NAME, "--fusion", "middle", *CARD, "--explain") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "fusion in the middle by concatenation: 2 encoders, which see T1; T2, each with" in said
    assert re.search("network multi_encoder_unet in size [1-3] of 3, as you asked", said)


def test_input_is_the_default_and_changes_no_byte(files: DatasetFolder) -> None:
    written = []
    for words in ((), ("--fusion", "input")):
        assert call(files, "plan", NAME, *CARD, *words) == 0
        written.append(files.plan.read_bytes())
    assert written[0] == written[1] and plan_of(files)["fusion"] is None


def test_two_planners_can_be_compared_without_it(files: DatasetFolder) -> None:
    assert call(files, "plan", NAME, "--compare", "tiny", "plain_unet", "--fusion", "input") == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--fusion", "middle", "--groups", "T1;PD"), "--groups: there is no channel 'PD'; name one of T1 (0), T2 (1)"),
        (("--fusion", "middle", "--groups", "T1,T2"), "at least two groups"),
        (("--groups", "T1;T2"), "ask for fusion middle or decision, too"),
        (("--fusion", "decision", "--groups", "T1;PD"), "--groups: there is no channel 'PD'; name one of T1 (0)"),
        (("--fusion", "decision", "--groups", "T1,T2"), "not all, and each once"),
        (("--fusion", "decision", "--groups", "T1;t1"), "two groups hold the same channels"),
        (("--fusion", "decision", "--network", "multi_encoder_unet"), "has a network for each modality"),
        (("--fusion", "middle", "--network", "plain_unet"), "give --fusion or --network"),
        (("--fusion", "middle", "--planner", "tiny"), "planner tiny plans its own networks only"),
        (("--fusion", "middle", "--from", "nnUNetPlans.json"), "nnUNetPlans.json plans its own networks only"),
        (("--fusion", "middle:sum"), "middle:mean_maximum"),
        (("--fusion", "input,middle", "--groups", "T1;PD"), "--groups: there is no channel 'PD'"),
        (("--fusion", "input,middle", "--groups", "T1,T2"), "at least two groups"),
        (
            ("--fusion", "input,middle", "--planner", "tiny"),
            "--fusion middle: planner tiny plans its own networks only",
        ),
        (("--fusion", "input,middle", "--network", "multi_encoder_unet"), "is no fusion at the input"),
        (("--fusion", "input,middle,input"), "fusion input is named twice"),
        (("--fusion", "input,unpaired"), "fusion unpaired stands alone"),
    ],
)
def test_what_cannot_be_is_refused_before_images_are_read(
    raw: Path, tmp_path: Path, words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code: object = main(["plan_and_preprocess", str(raw), *words, "--workspace", str(tmp_path)])
    except SystemExit as stopped:  # argparse
        code = stopped.code
    assert code == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.iterdir())


def test_images_of_one_channel_are_refused(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    single = tmp_path / "Dataset001_Single"
    for folder in ("imagesTr", "labelsTr"):
        (single / folder).mkdir(parents=True)
        for path in (raw / folder).iterdir():
            if folder == "labelsTr" or "_0000" in path.name:
                (single / folder / path.name).write_bytes(path.read_bytes())
    described = json.loads((raw / "dataset.json").read_text()) | {"channel_names": {"0": "T1"}}
    (single / "dataset.json").write_text(json.dumps(described))
    for words in (("--fusion", "middle"), ("--network", "multi_encoder_unet")):
        assert main(["plan_and_preprocess", str(single), *words, "--workspace", str(tmp_path / "w")]) == 2
        said = " ".join(capsys.readouterr().err.split())
        assert f"{' '.join(words)}: there is an encoder for each modality, but the images have one channel only" in said


@pytest.fixture(scope="module")
def decided(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> DatasetFolder:
    """A workspace in which a network of each modality is trained on fold 0, a few steps."""
    files = Workspace(tmp_path_factory.mktemp("decided")).dataset_folder(NAME)
    short = ("--set", "training.iterations_per_epoch=4", "--set", "training.epochs=1")
    words = ("--planner", "tiny", "--fusion", "decision", "-c", "3d_fullres", *short)
    assert call(files, "plan_and_preprocess", str(raw), *words) == 0
    for name in ("3d_fullres_T1", "3d_fullres_T2"):
        assert call(files, "train", NAME, "0", "-c", name, *HERE) == 0
    return files


def test_networks_of_one_modality_share_the_prepared_cases(decided: DatasetFolder) -> None:
    assert {path.name for path in decided.prepared("3d_fullres").parent.iterdir()} == {"3d_fullres"}
    plan = plan_of(decided)
    assert [plan["configurations"][f"3d_fullres_{name}"]["channels"] for name in ("T1", "T2")] == [[0], [1]]
    assert plan["fusion"] == {"level": "decision", "method": None, "groups": []}


def test_a_network_of_one_modality_reads_that_one_only(decided: DatasetFolder) -> None:
    plan = decided.read_plan()
    keys = decided.read_dataset().keys
    cases = {key: CaseStore(decided.prepared("3d_fullres")).open(key) for key in keys}
    patches = {}
    for name in ("3d_fullres", "3d_fullres_T1", "3d_fullres_T2"):
        task = plan.task(name)
        seen = with_inputs(cases, task, PriorStore(decided.priors(name), task.configuration.patch_size))
        sampler = training_sampler(seen, keys, task, seed=0)
        patches[name] = [sampler.read(replace(patch, shape=(8, 16, 16))) for patch in sampler.patches(0)]
    for whole, *alone in zip(*patches.values()):
        for channel, (key, (image, targets)) in enumerate(alone):
            assert key == whole[0]
            np.testing.assert_array_equal(image, whole[1][0][channel : channel + 1])
            np.testing.assert_array_equal(targets, whole[1][1])


def test_a_network_of_one_modality_is_blind_to_the_other(decided: DatasetFolder, raw: Path) -> None:
    image = read_case(find_images([raw / "imagesTs"], 2)[0][0])
    changed = image.array.copy()
    changed[0] = np.where(changed[0] == 0, 0, changed[0][::-1] + 10)
    for name, alike in (("3d_fullres_T1", False), ("3d_fullres_T2", True)):
        model = Model.read(decided.runs(name), settings=RunSettings(device="cpu", threads=1))
        prepared = [model.prepare(replace(image, array=array)) for array in (image.array, changed)]
        assert [len(each.image) for each in prepared] == [1, 1]
        one, other = (model.logits(each) for each in prepared)
        assert torch.equal(one, other) == alike


def test_their_probabilities_are_averaged_by_select_and_one_model_predicts(
    decided: DatasetFolder, raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(decided, "select", NAME, "-f", "0", "--no-mirroring-test") == 0
    assert "3d_fullres_T1 + 3d_fullres_T2" in capsys.readouterr().out
    out = tmp_path / "out"
    words = ("-i", str(raw / "imagesTs"), "-o", str(out), "-m", str(decided.selected))
    assert call(decided, "predict", *words, *HERE) == 0
    (predicted,), (reference,) = out.glob("*.nii.gz"), (raw / "labelsTs").glob("*.nii.gz")
    assert read_labels(predicted)[0].shape == read_labels(reference)[0].shape


def test_nnunet_has_no_counterpart_of_them(
    decided: DatasetFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(decided.runs("3d_fullres_T1"))
    assert call(decided, "export", model, "--format", "nnunet", "-o", str(tmp_path / "theirs")) == 2
    assert "3d_fullres_T1: it sees several slices, or some channels only" in " ".join(capsys.readouterr().err.split())


def test_in_python_groups_are_lists_or_text(raw: Path, tmp_path: Path) -> None:
    for groups in ([["T2"], ["T1"]], "T2;T1"):
        plan = autoseg.plan_and_preprocess(raw, tmp_path, fusion="middle", groups=groups, configurations=["3d_fullres"])
        assert plan.draft and plan.fusion is not None and plan.fusion.groups == (("T2",), ("T1",))
    for wrong in (3, [3], [["T1", 2]], ["T1", "T2"]):
        with pytest.raises(UsageError, match="groups must be lists of names"):
            autoseg.plan_and_preprocess(raw, tmp_path, fusion="middle", groups=wrong)  # type: ignore[arg-type]
