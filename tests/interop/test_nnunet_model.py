"""A folder or zip of nnU-Net becomes a bundle with the same weights; what cannot is refused and nothing is written."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load

from autoseg.bundle.bundle import Bundle
from autoseg.cli import main
from autoseg.core.labels import ExclusiveLabels
from autoseg.data.fingerprint import CaseFingerprint, Fingerprint, Intensities
from autoseg.errors import ModelError, RecordError
from autoseg.inference.model import Model
from autoseg.interop.nnunet_model import import_nnunet
from autoseg.interop.nnunet_plans import nnunet_plans
from autoseg.interop.nnunet_weights import to_nnunet
from autoseg.parts.inputs import prior
from autoseg.parts.networks import residual_unet
from autoseg.parts.postprocessors import largest_component
from autoseg.plan import Plan
from autoseg.settings import RunSettings

TITLE = "3d_fullres"
NAME = "nnUNetTrainer__nnUNetPlans__3d_fullres"
LABELS = {"background": 0, "organ": 1, "lesion": 2}


@pytest.fixture
def plan(small_plan: Plan) -> Plan:
    return replace(small_plan, labels=ExclusiveLabels(dict(LABELS)))


def weights_of(plan: Plan, title: str, seed: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    state: dict[str, torch.Tensor] = plan.task(title).network().state_dict()
    return {name: torch.randn_like(weight) for name, weight in state.items()}


def trained(plan: Plan, results: Path, title: str = TITLE, folds: tuple[str, ...] = ("0", "1"), **extra: Any) -> Path:
    """A model folder as nnU-Net leaves it, with random weights of which fold ``n`` has the seed ``n``."""
    folder = results / NAME.replace(TITLE, title)
    measured = Fingerprint(
        {"a": CaseFingerprint((12, 12, 12), (2.0, 2.0, 2.0), (12, 12, 12), 1.0, "")},
        (Intensities(*map(float, (9, 5, 5, 1, 2, 8, 2))),),
    )
    folder.mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(nnunet_plans(plan, measured)))
    described = {"channel_names": {"0": "MR"}, "labels": LABELS, "file_ending": ".nii.gz", "numTraining": 1}
    (folder / "dataset.json").write_text(json.dumps(described))
    for fold in folds:
        state = to_nnunet(weights_of(plan, title, int(fold.replace("all", "9"))), plan.configurations[title])
        checkpoint = {
            "network_weights": state,
            "trainer_name": "nnUNetTrainer",
            "init_args": {"configuration": title, "fold": fold, "device": torch.device("cuda")},
            "inference_allowed_mirroring_axes": (0, 2),
        }
        (folder / f"fold_{fold}").mkdir()
        torch.save(checkpoint | extra, folder / f"fold_{fold}" / "checkpoint_final.pth")
    return folder


def same_weights(bundle: Bundle, plan: Plan, title: str, fold: str) -> None:
    expected = weights_of(plan, title, int(fold.replace("all", "9")))
    found = load(bundle.weights(title, fold))
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_folder_becomes_a_bundle_with_the_same_plan_and_weights(plan: Plan, tmp_path: Path) -> None:
    bundle = import_nnunet(trained(plan, tmp_path), tmp_path / "bundle")
    assert bundle.manifest.configurations == {TITLE: ("0", "1")}
    assert bundle.manifest.source == f"nnU-Net: Dataset900_Small/{NAME}"
    assert bundle.manifest.exact
    for fold in ("0", "1"):
        same_weights(bundle, plan, TITLE, fold)
    ours, theirs = bundle.plan, plan
    assert ours.mirror_axes == (0, 2)
    assert (ours.labels, ours.channels, ours.axis_order) == (theirs.labels, theirs.channels, theirs.axis_order)
    for name in ("spacing", "patch_size", "batch_size", "normalizers", "resampler", "network", "loss"):
        assert getattr(ours.configurations[TITLE], name) == getattr(theirs.configurations[TITLE], name)


@pytest.mark.parametrize(("asked", "taken"), [("auto", "float32"), ("bfloat16", "bfloat16")])
def test_on_a_processor_an_imported_model_computes_in_float32_unless_told_otherwise(
    asked: str, taken: str, plan: Plan, tmp_path: Path
) -> None:
    bundle = import_nnunet(trained(plan, tmp_path, folds=("0",)), tmp_path / "bundle")
    model = Model.read(bundle.path, settings=RunSettings(device="cpu", precision=asked))
    assert model.settings.precision == taken


def test_a_residual_encoder_is_imported_as_well(plan: Plan, tmp_path: Path) -> None:
    plain = plan.configurations[TITLE].network
    network = residual_unet.Spec(**{name: getattr(plain, name) for name in plain.__dataclass_fields__})
    plan = replace(plan, configurations={TITLE: replace(plan.configurations[TITLE], network=network)})
    bundle = import_nnunet(trained(plan, tmp_path, folds=("0",)), tmp_path / "bundle")
    assert bundle.plan.configurations[TITLE].network == network
    same_weights(bundle, plan, TITLE, "0")


def test_a_zip_is_read_without_being_unpacked(plan: Plan, tmp_path: Path) -> None:
    trained(plan, tmp_path / "results" / "Dataset900_Small")
    archive = shutil.make_archive(str(tmp_path / "model"), "zip", tmp_path / "results")
    bundle = import_nnunet(Path(archive), tmp_path / "bundle.zip")
    for fold in ("0", "1"):
        same_weights(bundle, plan, TITLE, fold)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle.zip", "model.zip", "results"]


def test_a_folder_above_is_enough_where_there_is_one_model(plan: Plan, tmp_path: Path) -> None:
    trained(plan, tmp_path / "results" / "Dataset900_Small")
    assert import_nnunet(tmp_path / "results", into=tmp_path).path == tmp_path / "Dataset900_Small"


def test_the_configuration_chooses_among_several(plan: Plan, tmp_path: Path) -> None:
    plan = replace(plan, configurations={TITLE: plan.configurations[TITLE], "other": plan.configurations[TITLE]})
    for title in plan.configurations:
        trained(plan, tmp_path / "results", title, folds=("0",))
    with pytest.raises(ModelError, match="several models; choose one with -c: 3d_fullres, other"):
        import_nnunet(tmp_path / "results", tmp_path / "bundle")
    assert list(
        import_nnunet(tmp_path / "results", tmp_path / "bundle", configuration="other").plan.configurations
    ) == ["other"]


def test_folds_are_chosen_and_fold_all_counts_where_it_is_alone(plan: Plan, tmp_path: Path) -> None:
    folder = trained(plan, tmp_path / "a", folds=("0", "1", "all"))
    assert import_nnunet(folder, tmp_path / "b1").manifest.configurations == {TITLE: ("0", "1")}
    assert import_nnunet(folder, tmp_path / "b2", folds=["1"]).manifest.configurations == {TITLE: ("1",)}
    alone = trained(plan, tmp_path / "c", folds=("all",))
    assert import_nnunet(alone, tmp_path / "b3").manifest.configurations == {TITLE: ("all",)}
    with pytest.raises(ModelError, match=r"fold 7 has checkpoint_final\.pth"):
        import_nnunet(folder, tmp_path / "b4", folds=["7"])


def test_a_fold_whose_training_did_not_end_is_left_out_by_name(
    plan: Plan, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = trained(plan, tmp_path / "a", folds=("0", "1"))
    (folder / "fold_1" / "checkpoint_final.pth").unlink()
    (folder / "fold_1" / "progress.png").touch()
    assert import_nnunet(folder, tmp_path / "b").manifest.configurations == {TITLE: ("0",)}
    assert "left out: fold 1 of" in caplog.text and "has no checkpoint_final.pth" in caplog.text


def test_another_checkpoint_is_offered_where_the_final_one_is_missing(plan: Plan, tmp_path: Path) -> None:
    folder = trained(plan, tmp_path, folds=("0",))
    (folder / "fold_0" / "checkpoint_final.pth").rename(folder / "fold_0" / "checkpoint_best.pth")
    with pytest.raises(ModelError, match=r"no fold has checkpoint_final\.pth; there is checkpoint_best\.pth"):
        import_nnunet(folder, tmp_path / "bundle")
    bundle = import_nnunet(folder, tmp_path / "bundle", checkpoint="checkpoint_best.pth")
    same_weights(bundle, plan, TITLE, "0")


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_wrappers_of_the_network_do_not_matter(prefix: str, plan: Plan, tmp_path: Path) -> None:
    state = to_nnunet(weights_of(plan, TITLE, 0), plan.configurations[TITLE])
    folder = trained(plan, tmp_path, folds=("0",), network_weights={f"{prefix}{n}": w for n, w in state.items()})
    same_weights(import_nnunet(folder, tmp_path / "bundle"), plan, TITLE, "0")


def test_dropout_changes_training_only(plan: Plan, tmp_path: Path) -> None:
    state = to_nnunet(weights_of(plan, TITLE, 0), plan.configurations[TITLE])
    state = {name.replace("all_modules.1", "all_modules.2"): weight for name, weight in state.items()}
    folder = trained(plan, tmp_path, folds=("0",), network_weights=state)
    dropout = '"dropout_op": "torch.nn.modules.dropout.Dropout3d"'
    plans = (folder / "plans.json").read_text()
    (folder / "plans.json").write_text(plans.replace('"dropout_op": null', dropout))
    assert dropout in (folder / "plans.json").read_text()
    same_weights(import_nnunet(folder, tmp_path / "bundle"), plan, TITLE, "0")


def test_a_trainer_without_mirroring_mirrors_nothing(plan: Plan, tmp_path: Path) -> None:
    folder = trained(plan, tmp_path, folds=("0",), inference_allowed_mirroring_axes=None)
    assert import_nnunet(folder, tmp_path / "bundle").plan.mirror_axes == ()


def test_a_cascade_brings_its_earlier_stage(plan: Plan, tmp_path: Path) -> None:
    full = plan.configurations[TITLE]
    coarse = replace(full, spacing=(4.0, 4.0, 4.0))
    stages = {"3d_lowres": coarse, "3d_cascade": replace(full, inputs=(prior.Spec("3d_lowres"),))}
    plan = replace(plan, configurations={TITLE: full} | stages)
    trained(plan, tmp_path / "results", "3d_lowres", folds=("0", "1"))
    folder = trained(plan, tmp_path / "results", "3d_cascade", folds=("1",))
    bundle = import_nnunet(folder, tmp_path / "bundle")
    assert bundle.manifest.configurations == {"3d_lowres": ("0", "1"), "3d_cascade": ("1",)}
    assert bundle.manifest.ensemble == {"3d_cascade": 1.0}
    same_weights(bundle, plan, "3d_lowres", "1")
    same_weights(bundle, plan, "3d_cascade", "1")
    shutil.rmtree(tmp_path / "results" / NAME.replace(TITLE, "3d_lowres"))
    with pytest.raises(ModelError, match="3d_lowres"):
        import_nnunet(folder, tmp_path / "again")


LARGEST = "remove_all_but_largest_component_from_segmentation"


def corrections(plan: Plan, tmp_path: Path, **files: bytes) -> Any:
    folder = trained(plan, tmp_path / "model")
    results = folder / "crossval_results_folds_0_1"
    results.mkdir()
    for name, content in files.items():
        (results / f"postprocessing.{name}").write_bytes(content)
    return import_nnunet(folder, tmp_path / "bundle").manifest.postprocessing


def test_postprocessing_is_read_from_json(plan: Plan, tmp_path: Path) -> None:
    described = {
        "postprocessing_fns": [LARGEST, LARGEST],
        "postprocessing_kwargs": [{"labels_or_regions": [1, 2]}, {"labels_or_regions": 2}],
    }
    found = corrections(plan, tmp_path, json=json.dumps(described).encode())
    assert [step.label for step in found] == [None, "lesion"]
    assert all(step.method == largest_component.Spec() for step in found)


def pickled(module: str, name: str) -> bytes:
    """A pickle of a function and its arguments that says ``module.name`` instead."""
    content = pickle.dumps(([os.path.join], [{"labels_or_regions": 2}]), 2)
    return content.replace(b"cposixpath\njoin\n", f"c{module}\n{name}\n".encode())


def test_postprocessing_is_read_from_a_pickle_without_running_it(plan: Plan, tmp_path: Path) -> None:
    content = pickled("nnunetv2.postprocessing.remove_connected_components", LARGEST)
    (step,) = corrections(plan, tmp_path, pkl=content)
    assert (step.label, step.method) == ("lesion", largest_component.Spec())


def test_another_function_in_the_pickle_is_refused(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"postprocessing\.pkl is not loaded: it asks for os\.system"):
        corrections(plan, tmp_path, pkl=pickled("os", "system"))
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    "described",
    [
        {"postprocessing_fns": ["fill_holes"], "postprocessing_kwargs": [{}]},
        {"postprocessing_fns": [LARGEST], "postprocessing_kwargs": [{"labels_or_regions": 5}]},
        {"postprocessing_fns": [LARGEST], "postprocessing_kwargs": [{"labels_or_regions": "all"}]},
        {"postprocessing_fns": [LARGEST], "postprocessing_kwargs": []},
        {},
    ],
)
def test_a_correction_without_counterpart_is_refused(described: Any, plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"postprocessing\.json"):
        corrections(plan, tmp_path, json=json.dumps(described).encode())


class Hostile:
    """Loaded in the usual way, it makes a file."""

    def __init__(self, sign: Path) -> None:
        self.sign = sign

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.sign}",)


def test_a_malicious_model_is_refused_with_a_message_and_nothing_ran(
    plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = trained(plan, tmp_path, logging=[Hostile(tmp_path / "it_ran")])
    assert main(["import", "nnunet", str(folder), "--out", str(tmp_path / "bundle")]) == 2
    said = capsys.readouterr().err
    assert "fold_0/checkpoint_final.pth is not loaded: it asks for" in said
    assert ".system" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == [NAME]


def test_weights_that_do_not_fit_are_named(plan: Plan, tmp_path: Path) -> None:
    state = to_nnunet(weights_of(plan, TITLE, 0), plan.configurations[TITLE])
    name = "decoder.transpconvs.0.weight"
    wrong = {
        "is missing": {key: weight for key, weight in state.items() if key != name},
        "has no place in it": state | {"attention.weight": torch.zeros(1)},
        r"has the shape \(1,\)": state | {name: torch.zeros(1)},
        "holds no network_weights": None,
    }
    for number, (said, weights) in enumerate(wrong.items()):
        folder = trained(plan, tmp_path / str(number), folds=("0",), network_weights=weights)
        with pytest.raises(ModelError, match=said):
            import_nnunet(folder, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_a_network_of_another_kind_is_named(plan: Plan, tmp_path: Path) -> None:
    folder = trained(plan, tmp_path, folds=("0",))
    plans = (folder / "plans.json").read_text()
    (folder / "plans.json").write_text(plans.replace("unet.PlainConvUNet", "primus.PrimusM"))
    with pytest.raises(RecordError, match=r"plans\.json: configurations\.3d_fullres: the network .*primus\.PrimusM"):
        import_nnunet(folder, tmp_path / "bundle")


def test_a_place_without_a_model_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not exist"):
        import_nnunet(tmp_path / "nowhere")
    with pytest.raises(ModelError, match="holds no trained model of nnU-Net"):
        import_nnunet(tmp_path)


def test_nothing_is_replaced(plan: Plan, tmp_path: Path) -> None:
    folder = trained(plan, tmp_path, folds=("0",))
    import_nnunet(folder, tmp_path / "bundle")
    with pytest.raises(ModelError, match="exists already"):
        import_nnunet(folder, tmp_path / "bundle")
